"""The clock of capture times and ages: one that goes on while the machine is suspended.

``time.monotonic_ns`` stands still in a suspended machine, so that a mask from before would seem to be
as young as it was then. Limits on how long a thread may take stay on the monotonic clock: a suspended thread
does not hang.
"""

from __future__ import annotations

import time
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux alone has the first


_SLEPT_NS: Final = 10_000_000
"""The clocks are read one after the other; by more than this they part only in a machine that sleeps."""


def now_ns() -> int:
    """Nanoseconds of ``CLOCK_BOOTTIME`` where the system has it, else of ``CLOCK_MONOTONIC``.

    The same in every process of the machine; comparable with nothing from before its start.
    """
    return time.clock_gettime_ns(_CLOCK)


class MonotonicTimes:
    """Brings times of the monotonic clock, as drivers stamp frames with, to this one.

    The two part while the machine is suspended. A time from before a sleep that was not noticed yet is taken
    for one of before it: what was captured in the moment after may seem older than it is, nothing younger.
    """

    def __init__(self) -> None:
        self._ahead_ns = self._ahead_before_ns = now_ns() - time.monotonic_ns()
        self._noticed_ns = 0  # monotonic; times up to then are from before the last sleep

    def now_ns(self, time_ns: int) -> int:
        """Return the time of this clock, in nanoseconds, at the moment ``time_ns`` of the monotonic clock."""
        monotonic_ns = time.monotonic_ns()
        ahead_ns = now_ns() - monotonic_ns
        if ahead_ns - self._ahead_ns > _SLEPT_NS:
            self._ahead_before_ns, self._noticed_ns = self._ahead_ns, monotonic_ns
        self._ahead_ns = ahead_ns
        return time_ns + (self._ahead_before_ns if time_ns <= self._noticed_ns else ahead_ns)
