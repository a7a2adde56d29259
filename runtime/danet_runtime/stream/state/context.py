"""State that all parts of a stream share: its options, its health, its failure and its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from danet_runtime.errors import FaultError
from danet_runtime.results.health import Health
from danet_runtime.stream.state.options import StreamOptions

logger = logging.getLogger(__name__)


class StreamContext:
    """One for each stream; used from any thread.

    Args:
        options: Options of the stream.
        health: Health of the stream while it runs.

    Attributes:
        options: Options of the stream.
        health: Health of the stream while it runs.
    """

    def __init__(self, options: StreamOptions, health: Health) -> None:
        self.options = options
        self.health = health
        self._lock = threading.RLock()  # a signal's handler may come while its thread is inside
        self._failure: BaseException | None = None
        self._is_known = False
        self._at_end: list[Callable[[], None]] = []

    @property
    def failure(self) -> BaseException | None:
        """Exception to raise when the stream ends; ``None`` if nothing failed."""
        return self._failure

    def fail(self, error: BaseException) -> None:
        """Note a failure: the first one is raised at the end, but a fault, which asks for a restart, wins."""
        with self._lock:
            before = self._failure
            wins = before is None or (isinstance(error, FaultError) and not isinstance(before, FaultError))
            if wins:
                self._failure = error
        if before is not None:
            logger.error("one more failure: %s", before if wins else error)

    def raise_failure(self) -> None:
        """Raise the failure that ended the stream, unless the caller has learned of it already."""
        with self._lock:
            if self._failure is None or self._is_known:
                return
            self._is_known = True
        raise self._failure

    def note_failure_is_known(self) -> None:
        """Note that the caller learns of the failure in another way, so that it is not raised again."""
        self._is_known = True

    def at_end(self, act: Callable[[], None]) -> None:
        """Call ``act`` when inference has ended, perhaps more than once; before the stream starts."""
        self._at_end.append(act)

    def end(self) -> None:
        """Inference has ended: nothing more is captured or delivered. Harmless when called twice."""
        for act in self._at_end:
            act()
