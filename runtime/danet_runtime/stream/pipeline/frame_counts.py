"""Counts of one camera's frames by their fate; each frame is counted once, where its fate is decided."""

from __future__ import annotations

import threading

from danet_runtime.clock import now_ns
from danet_runtime.results.slot import FrameSlot
from danet_runtime.timing import LatencyRecorder, LatencySummary


class FrameCounts:
    """Counts and latencies; used from any thread.

    Frames that were displaced by newer ones are counted by the intake, which displaces them.

    Attributes:
        frames_in: Frames that were read.
        frames_out: Frames that every sink has finished with.
        frames_late: Frames that missed the deadline.
        frames_late_dropped: Late frames that were not delivered.
        frames_failed: Frames that could not be segmented.
        first_ns: Start of the first capture on the clock of :mod:`danet_runtime.clock`; 0 before.
        last_ns: Time when the last sink was done; 0 before.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may come while its thread is inside
        self._pending: dict[FrameSlot, int] = {}  # how many sinks have not written it
        self._abandoned = 0
        self._latency = LatencyRecorder()
        self.frames_in = 0
        self.frames_out = 0
        self.frames_late = 0
        self.frames_late_dropped = 0
        self.frames_failed = 0
        self.first_ns = 0
        self.last_ns = 0

    def describe(self, dropped: int) -> dict[str, int]:
        """Figures for reports; once the stream has ended, ``in`` is the sum of the others.

        Args:
            dropped: Frames that were displaced by newer ones.
        """
        with self._lock:
            return {
                "in": self.frames_in,
                "out": self.frames_out,
                "dropped": dropped,
                "late_dropped": self.frames_late_dropped,
                "failed": self.frames_failed,
                "unfinished": self._abandoned + len(self._pending),
            }

    def latency(self) -> LatencySummary:
        """Return the latency of the delivered frames."""
        with self._lock:
            return self._latency.summary()

    def captured(self, slot: FrameSlot) -> int:
        """Count a frame that was read; return the number of frames read so far."""
        with self._lock:
            self._pending[slot] = 0
            self.first_ns = self.first_ns or slot.started_ns
            self.frames_in += 1
            return self.frames_in

    def displaced(self, slot: FrameSlot) -> None:
        """Count a frame that a newer one displaced before inference."""
        with self._lock:
            del self._pending[slot]

    def failed(self, slot: FrameSlot) -> None:
        """Count a frame that could not be segmented."""
        with self._lock:
            del self._pending[slot]
            self.frames_failed += 1

    def abandoned(self, slot: FrameSlot) -> None:
        """Count a frame that was unfinished when the stream ended."""
        with self._lock:
            del self._pending[slot]
            self._abandoned += 1

    def late_dropped(self, slot: FrameSlot) -> None:
        """Count a frame that missed the deadline, where late frames are not delivered."""
        with self._lock:
            del self._pending[slot]
            self.frames_late += 1
            self.frames_late_dropped += 1

    def delivered(self, slot: FrameSlot, sinks: int) -> None:
        """Note that a frame was segmented, and how many sinks are about to write it."""
        with self._lock:
            self.frames_late += bool(slot.late)
            self._pending[slot] = sinks
            if not sinks:
                self._out(slot)

    def written(self, slot: FrameSlot, sink_ns: int) -> None:
        """Note that a sink has finished with a frame, after ``sink_ns`` nanoseconds."""
        with self._lock:
            # Sinks run side by side; the slowest is the one that the frame waited for.
            slot.stage_ns["sink"] = max(slot.stage_ns["sink"], sink_ns)
            self._pending[slot] -= 1
            if not self._pending[slot]:
                self._out(slot)

    def _out(self, slot: FrameSlot) -> None:
        del self._pending[slot]
        self.last_ns = now_ns()
        self.frames_out += 1
        self._latency.add(slot.stage_ns, self.last_ns - slot.started_ns)
