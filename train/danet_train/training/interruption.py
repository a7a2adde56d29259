"""Ask a training to stop by a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """While the block runs, take a first SIGINT or SIGTERM as a request to stop; raise nothing.

    A second one does what the first would have done without this: it ends the process. A signal that is
    ignored (``nohup``) stays ignored. Outside of the main thread, which alone gets signals, nothing changes.

    Yields:
        A function that returns whether a signal came.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def give_back() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        give_back()

    for number in previous:
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        give_back()
