"""Telling systemd every few seconds how a stream is: what ``systemctl status`` shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from danet_runtime.stream.systemd import SystemdNotifier

if TYPE_CHECKING:
    from danet_runtime.stream.stream import Stream

EVERY_S: Final = 5.0
_REASON_LETTERS: Final = 120


@contextmanager
def reporting_status(stream: Stream, every_s: float = EVERY_S) -> Iterator[None]:
    """While the block runs, send ``STATUS=`` with the state and the rate; nothing without systemd."""
    notifier = SystemdNotifier()
    if not notifier.is_heard:
        yield
        return
    over = threading.Event()

    def tell() -> None:
        frames, since = stream.frames_out, time.monotonic()
        pause_s = every_s / 5  # the first soon
        while not over.wait(pause_s):
            pause_s = every_s
            now, out = time.monotonic(), stream.frames_out
            notifier.status(status_of(stream, (out - frames) / (now - since)))
            frames, since = out, now

    thread = threading.Thread(target=tell, name="danet-status", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        notifier.close()


def status_of(stream: Stream, rate: float) -> str:
    """One line: the state, the rate, the frames so far, and the first reason."""
    line = f"{stream.health.state}, {rate:.1f} frames a second, {stream.frames_out} out"
    if stream.frames_dropped:
        line += f", {stream.frames_dropped} dropped"
    reasons = stream.health.reasons
    return f"{line}: {reasons[0][:_REASON_LETTERS]}" if reasons else line
