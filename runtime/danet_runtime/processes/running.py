"""Time during which this process ran: what a limit on another thread or process may count.

A process can stand still: stopped by a signal or a debugger, in a machine that is suspended or a virtual one
that is paused, or because nothing gives it a processor. Whoever waits by an ordinary clock takes that time
for the other's: after a pause of seven seconds every inference under way seems to hang. So time is counted in
steps by somebody who looks at the clock often, and a step that took far longer than it should counts little.
"""

from __future__ import annotations

import threading
from typing import Final

from danet_runtime.clock import now_ns

_LEAST_STEP_NS: Final = 250_000_000
_PERIODS: Final = 4
"""The most periods that one step counts: a watchdog on a busy machine is late now and then."""


class RunningClock:
    """Counts the time in which somebody read it again and again; read from any thread.

    Between two readings it goes on, but no further than a step may count, so that it never falls back.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may come while its thread is inside
        # Counted so far, when that was, the most that a step counts: one value, read without the lock.
        self._mark = (0, now_ns(), _LEAST_STEP_NS)
        self._resumed_ns = 0

    def now_ns(self) -> int:
        """Nanoseconds counted so far."""
        counted, looked_ns, most_ns = self._mark
        return counted + min(now_ns() - looked_ns, most_ns)

    def begin(self, every_s: float) -> None:
        """Somebody begins to read it every ``every_s`` seconds; that nobody did before was no standstill."""
        with self._lock:
            self._step(now_ns())
            self._mark = (*self._mark[:2], max(_LEAST_STEP_NS, int(_PERIODS * every_s * 1e9)))

    def look(self) -> float:
        """Count the step since the last look.

        Returns:
            Seconds that the process stood still in it; 0 where it was only late.
        """
        with self._lock:
            now = now_ns()
            _, looked_ns, most_ns = self._mark
            step_ns = now - looked_ns
            self._step(now)
            if step_ns <= _PERIODS * most_ns:
                return 0.0
            self._resumed_ns = now
            return step_ns / 1e9

    def resumed_ns(self) -> int:
        """When the process last went on after it had stood still, on :mod:`danet_runtime.clock`; 0: never.

        Also known to a thread that runs before whoever looks does.
        """
        _, looked_ns, most_ns = self._mark
        if now_ns() - looked_ns > _PERIODS * most_ns:
            self.look()
        return self._resumed_ns

    def _step(self, now: int) -> None:
        counted, looked_ns, most_ns = self._mark
        self._mark = (counted + min(now - looked_ns, most_ns), now, most_ns)


RUNNING: Final = RunningClock()
"""The clock of this process; the watchdog of every stream reads it."""


class Patience:
    """A limit for one who waits in steps; time in which the process stood still does not count.

    ::

        patience = Patience(10.0)
        while step_s := patience.step_s():
            if event.wait(step_s):
                break

    Args:
        limit_s: Longest time to wait in all, in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        self._left_ns = int(limit_s * 1e9)
        self._looked_ns = now_ns()

    def step_s(self) -> float:
        """How long to wait before asking again; 0 when the limit is over."""
        now = now_ns()
        self._left_ns -= min(now - self._looked_ns, 2 * _LEAST_STEP_NS)
        self._looked_ns = now
        return max(0, min(self._left_ns, _LEAST_STEP_NS)) / 1e9
