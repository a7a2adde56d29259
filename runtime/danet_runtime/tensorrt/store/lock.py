"""One process at a time: a lock that the operating system holds, and that ends with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path, on_wait: Callable[[int | None], None] | None = None) -> Iterator[bool]:
    """Hold the lock file ``path`` for the length of the block; wait where another process holds it.

    The file stays when the lock is given back: one that is removed could be locked twice.

    Args:
        path: The lock file; it and its folder are made where they are not there.
        on_wait: Called once before waiting, with the process that holds the lock, or ``None`` if it has not
            said.

    Yields:
        Whether there was waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_CLOEXEC: a program that the holder starts must not hold the lock beyond the holder's end.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        waited = not _taken_at_once(handle)
        if waited:
            if on_wait is not None:
                on_wait(_holder(handle))
            fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):  # on a full disk nobody is told who holds it, and it is held
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield waited
    finally:
        os.close(handle)


def _taken_at_once(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(handle: int) -> int | None:
    content = os.pread(handle, 32, 0).decode(errors="replace")
    return int(content) if content.isdecimal() else None
