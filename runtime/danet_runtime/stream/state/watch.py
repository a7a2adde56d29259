"""The watchdog: it notices threads that hang or have died, and never waits for them.

All limits count on :data:`danet_runtime.processes.running.RUNNING`: while the process stands still, nobody
hangs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from danet_runtime.processes.running import RUNNING

logger = logging.getLogger(__name__)

_NUDGE_S = 0.2


class Worker:
    """One thread, and the time since when it has been inside a call that may hang.

    Use as a context manager around such a call.

    Args:
        name: Name of the thread, without the prefix ``danet-``.
        target: Function that the thread runs; the thread is done when it returns.
    """

    def __init__(self, name: str, target: Callable[[], None]) -> None:
        self.name = name
        self._target = target
        self._busy_since_ns = -1
        self._begun = self._returned = False
        self.thread = threading.Thread(target=self._run, name=f"danet-{name}", daemon=True)

    def _run(self) -> None:
        self._begun = True
        self._target()
        self._returned = True

    @property
    def busy_s(self) -> float:
        """Seconds inside the call in which this process ran; 0 outside."""
        since = self._busy_since_ns
        return (RUNNING.now_ns() - since) / 1e9 if since >= 0 else 0.0

    @property
    def died(self) -> bool:
        """Whether the thread has ended without returning: something raised through all of its handlers."""
        # Not by its ident: a thread that is just being started has one before it counts as alive.
        return self._begun and not self.thread.is_alive() and not self._returned

    def __enter__(self) -> None:
        self._busy_since_ns = RUNNING.now_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._busy_since_ns = -1


def wait_for(workers: Sequence[Worker], grace_s: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Wait for threads that wait for each other to return, as long as none hangs in one thing.

    Args:
        workers: The threads.
        grace_s: Time in one call after which a thread counts as hanging.
        meanwhile: Called repeatedly during the wait, to end what the threads may have begun since.

    Returns:
        Whether all have returned.
    """
    while alive := [worker for worker in workers if worker.thread.is_alive()]:
        alive[0].thread.join(min(grace_s, _NUDGE_S))
        RUNNING.look()  # the watchdog may not run any more, or never did
        meanwhile()
        for worker in alive:
            if worker.thread.is_alive() and worker.busy_s >= grace_s:
                return False
    return True


class Watchdog:
    """Runs checks again and again in a thread of its own.

    Args:
        checks: Functions to call each time; they must not wait. One that raises is logged and called again.
        every_s: Seconds between two rounds of checks.
    """

    def __init__(self, checks: Sequence[Callable[[], None]], every_s: float) -> None:
        self._checks = tuple(checks)
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="danet-watchdog", daemon=True)

    @property
    def thread(self) -> threading.Thread:
        """Thread of the watchdog."""
        return self._thread

    def start(self) -> None:
        """Begin to look."""
        RUNNING.begin(self._every_s)
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the last look is over. Harmless when called twice, or never started."""
        self._end.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            for check in self._checks:
                try:
                    check()
                except Exception:
                    with suppress(Exception):  # without memory or descriptors the log may fail as well
                        logger.exception("a check of the watchdog raised")
