"""One segmented frame, as a stream delivers it, and the buffers that it lives in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from danet_runtime.backends.base import UInt8Array
from danet_runtime.sources.base import FrameInfo
from danet_runtime.timing import STAGES


@dataclass(frozen=True, eq=False)
class Result:
    """A frame and its labels.

    The arrays belong to the stream, which uses them again. A sink may read them during ``write``; the
    caller who iterates may read them until asking for the next result or leaving the ``with`` block. Nobody
    writes to them. Copy what must live longer.

    Attributes:
        frame: (H, W, 3) uint8 BGR, as the source gave it.
        labels: (H, W) uint8, positions in the bundle's classes; 255 where there is none.
        frame_id: The frame's number in its source; it grows, with gaps where frames were dropped.
        capture_time_ns: Arrival of the frame on this machine, on the clock of ``time.monotonic_ns``.
        age_ms: Age of the frame at delivery to whoever holds this result, since ``capture_time_ns``.
        stages_ms: Time spent in ``capture``, ``preprocess``, ``inference`` and ``postprocess``.
        media_time_ms: Position in the file, where the source has one.
        name: Name of the picture, where the source has one.
    """

    frame: UInt8Array
    labels: UInt8Array
    frame_id: int
    capture_time_ns: int
    age_ms: float
    stages_ms: Mapping[str, float]
    media_time_ms: float | None = None
    name: str | None = None


class FrameSlot:
    """The buffers of one frame in flight, allocated once and used again; a stream owns them.

    Args:
        size_hw: Height and width of the source's frames.

    Attributes:
        frame: (H, W, 3) uint8 BGR, written by the source.
        labels: (H, W) uint8, written by the segmenter.
        info: What the source says of the frame.
        started_ns: When its capture started, on the clock of ``time.monotonic_ns``.
        stage_ns: Nanoseconds of each stage, in the order of :data:`danet_runtime.timing.STAGES`.
        readers: How many consumers have not released it.
        writers: How many sinks have not written it.
    """

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.frame = np.empty((*size_hw, 3), np.uint8)
        self.labels = np.empty(size_hw, np.uint8)
        self.info = FrameInfo(-1, 0)
        self.started_ns = 0
        self.stage_ns = [0] * len(STAGES)
        self.readers = 0
        self.writers = 0

    def result(self) -> Result:
        """What a consumer gets at this moment: views of the buffers, and the frame's age."""
        return Result(
            frame=self.frame,
            labels=self.labels,
            frame_id=self.info.id,
            capture_time_ns=self.info.capture_time_ns,
            age_ms=(time.monotonic_ns() - self.info.capture_time_ns) / 1e6,
            stages_ms={name: ns / 1e6 for name, ns in zip(STAGES[:4], self.stage_ns, strict=False)},
            media_time_ms=self.info.media_time_ms,
            name=self.info.name,
        )
