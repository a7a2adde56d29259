"""Ask a training to stop by a signal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

REPEATS_S: Final = 1.0
"""Seconds after the first signal within which further ones are the same request: ``timeout`` sends its own
both to the process and to its group, and a service manager may send another kind right behind."""

_ASKING: Final = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """While the block runs, take a first SIGINT, SIGTERM or SIGHUP as a request to stop; raise nothing.

    Another one does what the first would have done without this, where it comes more than
    :data:`REPEATS_S` later: it ends the process. A signal that is ignored (``nohup``) stays ignored. Outside
    of the main thread, which alone gets signals, nothing changes.

    Yields:
        A function that returns whether a signal came.
    """
    came: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {
        number: handler
        for number in _ASKING
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def give_back() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(time.monotonic())
        if came[-1] - came[0] > REPEATS_S:
            give_back()
            signal.raise_signal(number)

    for number in previous:
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        give_back()
