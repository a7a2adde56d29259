"""Ending a command from outside, in order."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from danet_runtime.recorder.recorder import FlightRecorder

logger = logging.getLogger(__name__)

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager, a terminal that was closed."""

_STOP_S = 1.0
_EARLY: Final[dict[int, bool]] = {}
"""Whether SIGUSR1 arrived before there was a handler for it."""

_RAISED: Final[list[int]] = []
"""Signals that were raised in the command that runs."""


class InterruptedByUser(KeyboardInterrupt):
    """Raised on SIGINT, SIGTERM and SIGHUP where no command handles the signal itself.

    CPython remembers an exact ``KeyboardInterrupt`` that passes code which was compiled from text, as every
    data class is, and then ends by SIGINT whatever exit code was chosen; a subclass it lets pass.
    """


@contextmanager
def signals_as_interrupt() -> Iterator[Sequence[int]]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does: a service manager, too, gets finished outputs.

    A signal that is ignored (``nohup``) stays ignored.

    Yields:
        The signals that were raised so far. Native code that is being loaded may make another error of what
        was raised in it: ONNX Runtime then says that its initialisation failed.
    """
    came = _RAISED
    came.clear()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise InterruptedByUser

    previous = {
        number: signal.signal(number, interrupt)
        for number in ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield came
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is interrupt:
                signal.signal(number, handler)


def was_interrupted() -> bool:
    """Whether a signal was raised in this command, whatever error native code made of it on its way."""
    return bool(_RAISED)


@contextmanager
def ending_in_order(stop: Callable[[], None]) -> Iterator[Sequence[int]]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP call ``stop``, and nothing is raised in the block.

    An exception out of a handler comes between any two steps: where a lock was just taken it stays taken, and
    a second one cuts short what finishes the outputs. So the handler only wakes a thread, and that calls
    ``stop``, once; later signals change nothing, also after the block, where a process that was asked to end
    must still come to its exit code. A signal that is ignored (``nohup``) stays ignored.

    Args:
        stop: Asks for the end and returns; called from another thread.

    Yields:
        The signals that came so far.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wake(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        with suppress(BlockingIOError):
            os.write(writing, b".")

    def wait() -> None:
        if os.read(reading, 1):
            stop()

    thread = threading.Thread(target=wait, name="danet-signals", daemon=True)
    thread.start()
    previous = {
        number: signal.signal(number, wake)
        for number in ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if came else handler)
        os.close(writing)
        thread.join(_STOP_S)
        if not thread.is_alive():
            os.close(reading)


def survive_requests() -> None:
    """Let SIGUSR1 end nothing, from now on to the end of the process.

    It asks a running stream for its flight recording, and may come before there is one or after it has ended;
    for the very end see :func:`ignore_requests`.
    """

    def remember(_number: int, _frame: FrameType | None) -> None:
        _EARLY[signal.SIGUSR1] = True

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, remember)


def ignore_requests() -> None:
    """Ignore SIGUSR1 from now on.

    An interpreter that ends takes back its handlers, and what comes while it cleans up would kill it, and so
    the exit code of a run that had ended well. What is ignored it leaves alone.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@contextmanager
def on_request(recorders: Sequence[FlightRecorder]) -> Iterator[None]:
    """While the block runs, SIGUSR1 asks for the flight recordings to be written."""
    if recorders and _EARLY:
        logger.warning(
            "SIGUSR1 came before the stream ran, when there was nothing to write; send it again for a "
            "recording"
        )
        _EARLY.clear()

    def write(_number: int, _frame: FrameType | None) -> None:
        for recorder in recorders:
            recorder.request("signal")

    before = signal.signal(signal.SIGUSR1, write)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
