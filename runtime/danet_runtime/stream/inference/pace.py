"""Timing of the next frame of a camera, so that it is still new when the model is ready for it.

A backend that overlaps takes a second frame while the first is computed. Given at once, that frame would wait
for a whole inference and be old when its turn comes. Given just before the model is free, it is the newest
there is, and the model still never waits::

    model    | frame 1           | frame 2           |
    upload                    |2|                 |3|
                              ^ begin with frame 2, the newest now

"""

from __future__ import annotations

import threading
import time
from collections import deque

from danet_runtime.timing import DeviceTimes

MARGIN_S = 0.001
"""Time to begin earlier: a thread wakes up late, and a frame has to be taken and enqueued."""

_REMEMBERED = 8


class Pace:
    """Knows from what frames took on the device when its slowest stage will be free.

    One thread asks and submits, another one collects. Of the last frames' times the shortest counts: to begin
    too early costs a little age, to begin too late would cost throughput.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: deque[DeviceTimes] = deque(maxlen=_REMEMBERED)
        self._before_s = self._slowest_s = self._after_s = 0.0
        self._under_way = 0
        self._free_at_s = 0.0  # when the slowest stage will be through with what is under way

    def pause_s(self) -> float:
        """Return the wait before the next frame is taken; 0 until the first frames have been collected."""
        with self._lock:
            if not self._under_way or not self._times:
                return 0.0
            return max(0.0, self._free_at_s - self._before_s - MARGIN_S - time.monotonic())

    def submitted(self) -> None:
        """Note that a frame was submitted."""
        with self._lock:
            self._under_way += 1
            arrives = time.monotonic() + self._before_s
            self._free_at_s = max(self._free_at_s, arrives) + self._slowest_s

    def collected(self, device: DeviceTimes | None) -> None:
        """Note that a frame was collected.

        Args:
            device: Times on the device; ``None``: the frame failed.
        """
        with self._lock:
            self._under_way -= 1
            if device is not None:
                self._times.append(device)
                stages = [min(stage) / 1e3 for stage in zip(*self._times, strict=True)]
                slowest = max(range(len(stages)), key=stages.__getitem__)
                self._before_s, self._after_s = sum(stages[:slowest]), sum(stages[slowest + 1 :])
                self._slowest_s = stages[slowest]
            left_s = time.monotonic() - self._after_s  # when this frame left the slowest stage
            self._free_at_s = left_s + self._under_way * self._slowest_s
