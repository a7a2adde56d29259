"""Arrival times of RTP packets, noted where they come off the network, before they wait anywhere."""

from __future__ import annotations

import os
import socket
import struct
from collections import OrderedDict
from typing import Final

_KEPT: Final = 512
_SO_TIMESTAMPNS: Final = 35  # Linux; the socket module has no name for it
_HEADER_BYTES: Final = 12


class Arrivals:
    """The moment at which the first packet of each picture came."""

    def __init__(self) -> None:
        self._by_picture: OrderedDict[tuple[int, int], int] = OrderedDict()

    def note(self, data: bytes, arrival_ns: int) -> None:
        """One packet has come.

        Args:
            data: The packet, or its first bytes.
            arrival_ns: When it came, on the clock of :mod:`danet_runtime.clock`.
        """
        if len(data) < _HEADER_BYTES:
            return
        picture = struct.unpack_from(">II", data, 4)
        if picture not in self._by_picture:
            self._by_picture[picture] = arrival_ns
            if len(self._by_picture) > _KEPT:
                self._by_picture.popitem(last=False)

    def of(self, data: bytes) -> int | None:
        """Return when the picture of a packet came; ``None`` where that was not noted."""
        if len(data) < _HEADER_BYTES:
            return None
        return self._by_picture.get(struct.unpack_from(">II", data, 4))


class Settling:
    """Tells from when on the pictures of a stream come at their own pace, and no more out of a queue.

    What has piled up while a pipeline started, or at the sender, comes faster than it was captured. How old
    it is nobody can say: it seemed up to 0.6 s too young. That is over when two pictures in a row have not
    come much faster than their times say, or after a second: then they come so for another reason.
    """

    _CALM: Final = 2
    _FASTER: Final = 4
    """A quarter of the time between two pictures is the jitter of a network."""

    _MOST_NS: Final = 1_000_000_000

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last = (0, 0)
        self._calm = 0
        self._is_over = False

    def is_over(self, time_ns: int, arrival_ns: int) -> bool:
        """Whether a picture, the next in order, came at the pace of the stream.

        Args:
            time_ns: When it was captured, on the stream's clock.
            arrival_ns: When it came.
        """
        if self._is_over:
            return True
        if self._first_ns is None:
            self._first_ns = arrival_ns
        else:
            step_ns, came_ns = time_ns - self._last[0], arrival_ns - self._last[1]
            is_calm = came_ns > step_ns - step_ns // self._FASTER
            self._calm = self._calm + 1 if is_calm else 0
            self._is_over = self._calm == self._CALM or arrival_ns - self._first_ns > self._MOST_NS
        self._last = (time_ns, arrival_ns)
        return self._is_over


def stamp_by_kernel(fd: int) -> None:
    """Let the kernel note when datagrams reach a socket, for a ``udpsrc`` that is set to take that over.

    Raises:
        OSError: It cannot.
    """
    with socket.socket(fileno=os.dup(fd)) as same:
        same.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
