"""Child processes that a signal to the whole process group does not end before their parent.

A terminal, a service manager and ``timeout`` send a signal to every process of a group. The parent alone
decides what becomes of it; its children work on until it ends them, or has ended itself.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CAN_HOLD: Final = hasattr(signal, "sigwaitinfo")
"""Whether signals can be held and asked for their sender; not on macOS and Windows."""
_TO_THE_GROUP: Final = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}


@contextmanager
def holding_signals() -> Iterator[None]:
    """Hold back what ends a process while the block starts children; it arrives here when the block ends.

    A child inherits that it is held back, and so does each thread that it starts, those of libraries
    included: nothing reaches it before it has called :func:`heed_the_parent_alone`, and nothing after.
    """
    if not _CAN_HOLD:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_THE_GROUP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_the_parent_alone() -> None:
    """In a child: ignore signals to the group, but end by a SIGTERM of the parent, which waits for that."""
    for number in _TO_THE_GROUP - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if not _CAN_HOLD:
        return
    # Held in this thread and in all that it starts, so that the one below gets it, and whose it is.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_the_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
