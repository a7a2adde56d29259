"""Times at which bytes arrived at a socket: never later than they are known to have come.

A process that stood still for a second (stopped, swapped out, on a machine that does too much) finds a second
of a camera's pictures in its socket, and cannot see when each of them had come. What it knows is when it last
found the socket empty: whatever it reads came after that.
"""

from __future__ import annotations

import fcntl
import io
import select
import socket
import ssl
import struct
import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING

from danet_runtime.clock import now_ns

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LOOK_S = 0.01
"""How often an idle socket is looked at; ages of what is found later are uncertain by this at most."""

_PROMPT_NS = 30_000_000
"""Who last looked no longer ago has read what came as it came."""


@dataclass(frozen=True)
class Arrival:
    """When something came.

    Attributes:
        time_ns: Time on the clock of :mod:`danet_runtime.clock`; it came then, or later.
        is_exact: Whether it came then.
    """

    time_ns: int
    is_exact: bool = True


class ArrivalReader(io.RawIOBase):
    """The bytes of a socket, with the time at which they came.

    Args:
        sock: Socket, connected and blocking; not closed here.

    Attributes:
        arrival: When the bytes of the last read came: that read's own time where it waited for them, else the
            last moment at which they had not come.
        position: Number of bytes read in all.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.position = 0
        self._floor_ns = self._looked_ns = now_ns()
        self.arrival = Arrival(self._floor_ns)
        self._waiting_until = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Wait for bytes and read them."""
        self._look()
        if not self._has_pending():
            seconds, before_ns = 0.0, now_ns()  # not after: this process may stand still in between
            while not select.select([self._socket], [], [], seconds)[0]:
                self._floor_ns = before_ns
                seconds, before_ns = _LOOK_S, now_ns()
        count = self._socket.recv_into(buffer)
        now = now_ns()
        is_exact = now - self._floor_ns < _PROMPT_NS
        self.arrival = Arrival(now if is_exact else self._floor_ns, is_exact)
        self.position += count
        return count

    def _look(self) -> None:
        """Once all that waited at the last look has been read, the rest has come after that look."""
        if self.position >= self._waiting_until:
            self._floor_ns = max(self._floor_ns, self._looked_ns)
            self._looked_ns = now_ns()
            waiting = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, b"\0\0\0\0"))[0]
            self._waiting_until = self.position + waiting + self._has_pending()

    def _has_pending(self) -> int:
        """Bytes that TLS has decrypted already."""
        return self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
