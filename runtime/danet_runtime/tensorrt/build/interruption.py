"""Keeping Ctrl-C and SIGTERM until the builder has returned."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Signals that have come since they were held; falsy while there was none."""

    def __init__(self) -> None:
        self._came: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._came)

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler: keep the signal."""
        self._came.append(number)

    def hand_on(self) -> None:
        """Raise the first signal again, for the handler that is set now."""
        signal.raise_signal(self._came[0])


@contextmanager
def held_signals() -> Iterator[HeldSignals]:
    """Hold Ctrl-C and SIGTERM during the block, then hand the first to the handler that was there.

    Their handlers raise wherever Python happens to be. While TensorRT works, that is its log or monitor:
    an exception there is swallowed, and the build goes on as if nobody had asked, or it ends the process.
    Outside the main thread, where no handler runs, nothing is held. A signal goes before the
    block's own exception: a build that is cut short fails.
    """
    held = HeldSignals()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    # None: a handler that was not set from Python, which cannot be put back.
    ours = [number for number in _SIGNALS if previous[number] is not None]
    for number in ours:
        signal.signal(number, held.note)
    try:
        yield held
    finally:
        for number in ours:
            signal.signal(number, previous[number])
        if held:
            held.hand_on()
