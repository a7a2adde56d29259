"""Telling systemd how a stream is: ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, ``STATUS=`` (sd_notify(3)).

A stream sends the first three by itself, ``danet run`` the status, see :mod:`danet_runtime.cli.live.status`.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

from danet_runtime.visible_text import visible

logger = logging.getLogger(__name__)


class SystemdNotifier:
    """Sends states to the socket that systemd names in the environment; does nothing where there is none.

    Args:
        environment: Environment that holds ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.

    Attributes:
        watchdog_s: Seconds of silence after which systemd restarts the service; ``None``: it never does.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # the abstract namespace
        microseconds = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(microseconds) / 1e6 if microseconds.isdecimal() and is_ours else None
        self._last_ping = 0.0
        self._socket: socket.socket | None = None
        self._fails = False

    def send(self, *states: str) -> bool:
        """Send lines such as ``READY=1``; what cannot be sent is logged, never raised.

        Returns:
            Whether they were sent.
        """
        if not self._address:
            return False
        try:
            if self._socket is None:  # kept: a ping must get through also when no file descriptor is left
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(map(visible, states)).encode(), self._address)
        except OSError as error:
            if not self._fails:  # it is tried again with every look of the watchdog: told once
                logger.warning("systemd cannot be notified: %s", error)
            self._fails = True
            return False
        self._fails = False
        return True

    def close(self) -> None:
        """Let go of the socket; harmless when called twice."""
        sender, self._socket = self._socket, None
        if sender is not None:
            sender.close()

    @property
    def is_heard(self) -> bool:
        """Whether there is a socket to send to."""
        return bool(self._address)

    def status(self, text: str) -> None:
        """``STATUS=`` with what ``systemctl status`` is to show; in one line."""
        self.send(f"STATUS={' '.join(text.split())}")

    def ping(self) -> None:
        """``WATCHDOG=1``, at most four times in the time that systemd waits."""
        now = time.monotonic()
        if self.watchdog_s is not None and now - self._last_ping >= self.watchdog_s / 4:
            # One that was not sent is sent at the next look.
            self._last_ping = now if self.send("WATCHDOG=1") else self._last_ping
