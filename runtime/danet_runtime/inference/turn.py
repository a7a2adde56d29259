"""Calls of one segmenter, one at a time."""

from __future__ import annotations

import threading
from types import TracebackType

from danet_runtime.errors import BackendError


class Turn:
    """One call at a time; a call that comes out of another one, which would wait for itself, is refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None

    def begin(self, limit_s: float = -1) -> bool:
        """Wait up to ``limit_s`` seconds for the turn; at once false if the calling thread has it already."""
        if not self._lock.acquire(blocking=False) and (
            self._thread == threading.get_ident() or not self._lock.acquire(timeout=limit_s)
        ):
            return False
        self._thread = threading.get_ident()
        return True

    def end(self) -> None:
        """End this turn and let the next caller begin."""
        self._thread = None
        self._lock.release()

    def __enter__(self) -> None:
        if not self.begin():
            raise BackendError(
                "the segmenter was called while this very thread was inside it, as in a handler of a signal; "
                "call it when the call before has returned"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
