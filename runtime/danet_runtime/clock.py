"""The clock of capture times and ages: one that goes on while the machine is suspended.

``time.monotonic_ns`` stands still in a suspended machine, so that a mask from before would seem to be
as young as it was then. Limits on how long a thread may take stay on the monotonic clock: a suspended thread
does not hang.
"""

from __future__ import annotations

import time
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux alone has the first


def now_ns() -> int:
    """Nanoseconds of ``CLOCK_BOOTTIME`` where the system has it, else of ``CLOCK_MONOTONIC``.

    The same in every process of the machine; comparable with nothing from before its start.
    """
    return time.clock_gettime_ns(_CLOCK)


def from_monotonic_ns(time_ns: int) -> int:
    """What this clock showed when the monotonic one showed ``time_ns``, had the machine not slept since."""
    return time_ns + now_ns() - time.monotonic_ns()
