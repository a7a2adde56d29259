"""A machine that was suspended, as its processes see it: one of the kernel's clocks goes on meanwhile."""

from __future__ import annotations

import time

import pytest

from danet_runtime.processes.running import RUNNING


class Suspension:
    """Shifts ``CLOCK_BOOTTIME`` and the wall clock of this process, as a suspended machine does.

    The shift is made where the kernel is asked, so that everything above is the real thing. Only a process
    without other threads could be moved to another time namespace.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._shift_ns = self._set_ns = 0
        clock, wall = time.clock_gettime_ns, time.time_ns

        def gettime_ns(which: int) -> int:
            return clock(which) + (self._shift_ns if which == time.CLOCK_BOOTTIME else 0)

        patch.setattr(time, "clock_gettime_ns", gettime_ns)
        patch.setattr(time, "time_ns", lambda: wall() + self._shift_ns + self._set_ns)

    def sleep(self, seconds: float) -> None:
        """The machine was suspended for so long, just now."""
        self._shift_ns += int(seconds * 1e9)

    def set_wall_clock(self, seconds: float) -> None:
        """Somebody set the wall clock by so much."""
        self._set_ns += int(seconds * 1e9)

    def forget(self) -> None:
        """The clock is put right again, which no machine does: what has seen it shifted must forget that."""
        self._shift_ns = self._set_ns = 0
        RUNNING.__init__()  # type: ignore[misc]
