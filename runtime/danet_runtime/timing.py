"""Latency of each stage, collected in memory that is allocated once; and rates of frames.

A frame's life is one interval, from the moment its capture starts to the moment the last sink is done with
it. Of a camera it starts at the frame's capture time: the wait for a frame that was not there yet is nobody's
latency. The stages are disjoint parts of it; what is left is the remainder: waiting between the threads. So
for every frame, and for the means, ``capture + preprocess + inference + postprocess + sink + remainder =
total`` holds. (Percentiles do not add up; nothing here pretends that they do.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np

Stage = Literal["capture", "preprocess", "inference", "postprocess", "sink"]

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
"""The stages of a stream, in the order in which a frame passes them."""

_NS_PER_MS = 1e6

_MOST_DENOMINATOR: Final = 1001
"""Largest denominator of a rate: that of television's, such as 30000/1001."""


def exact_rate(fps: float) -> Fraction:
    """A rate as the fraction that it was before it became a float: 30000/1001, or one frame in an hour."""
    if fps < 1:
        return 1 / Fraction(1 / fps).limit_denominator(_MOST_DENOMINATOR)
    return Fraction(fps).limit_denominator(_MOST_DENOMINATOR)


class DeviceTimes(NamedTuple):
    """Times of one frame on the device, by its own clock, in milliseconds; 0 where nothing was copied."""

    upload_ms: float
    inference_ms: float
    download_ms: float


@dataclass(frozen=True)
class StageLatency:
    """Latency of one stage in milliseconds; the mean and the maximum are over all frames."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class LatencySummary:
    """Latencies of many frames.

    Attributes:
        frames: Number of measured frames.
        window: Number of latest frames that the percentiles are over.
        stages: Latency of the stages by name, in order.
        total: Time from the start of a frame's capture until the last sink is done with it.
        remainder: ``total`` less all stages: waiting between threads.
    """

    frames: int
    window: int
    stages: dict[str, StageLatency]
    total: StageLatency
    remainder: StageLatency

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> LatencySummary:
        """Restore a summary from the result of :meth:`to_dict`."""
        return cls(
            plain["frames"],
            plain["window"],
            {name: StageLatency(**stage) for name, stage in plain["stages"].items()},
            StageLatency(**plain["total"]),
            StageLatency(**plain["remainder"]),
        )


class LatencyRecorder:
    """Collects the latencies of frames; not thread-safe, the owner holds a lock.

    Args:
        stages: Names of the stages.
        capacity: Number of latest frames that the percentiles are taken over; the default holds 43 minutes at
            25 frames a second in 3.7 MB.
    """

    def __init__(self, stages: Sequence[Stage] = STAGES, capacity: int = 65536) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 (got {capacity})")
        self._stages = tuple(stages)
        self._names = (*stages, "total", "remainder")
        # (frames, stages + total + remainder) ns; written to now, so that it does not look like a leak later
        self._window = np.full((capacity, len(self._names)), 0, np.int64)
        self._sum = np.zeros(len(self._names), np.int64)
        self._max = np.zeros(len(self._names), np.int64)
        self._frames = 0

    @property
    def frames(self) -> int:
        """Number of frames that were added."""
        return self._frames

    def add(self, stage_ns: Mapping[Stage, int], total_ns: int) -> None:
        """Add one frame.

        Args:
            stage_ns: Nanoseconds of each of the stages.
            total_ns: Nanoseconds of the whole.
        """
        row = self._window[self._frames % len(self._window)]
        row[:-2] = [stage_ns[stage] for stage in self._stages]
        row[-2] = total_ns
        row[-1] = total_ns - int(row[:-2].sum())
        self._sum += row
        np.maximum(self._max, row, out=self._max)
        self._frames += 1

    def summary(self) -> LatencySummary:
        """Return the summary so far; zeros where no frame was added."""
        window = min(self._frames, len(self._window))
        rows = self._window[:window] if window else np.zeros((1, len(self._names)), np.int64)
        percentiles = np.percentile(rows, (50, 95, 99), axis=0) / _NS_PER_MS  # (3, columns) ms
        mean = self._sum / (max(self._frames, 1) * _NS_PER_MS)
        columns = {
            name: StageLatency(
                mean_ms=float(mean[column]),
                p50_ms=float(percentiles[0, column]),
                p95_ms=float(percentiles[1, column]),
                p99_ms=float(percentiles[2, column]),
                max_ms=float(self._max[column] / _NS_PER_MS),
            )
            for column, name in enumerate(self._names)
        }
        total, remainder = columns.pop("total"), columns.pop("remainder")
        return LatencySummary(self._frames, window, columns, total, remainder)
