"""One segmented frame, as a stream delivers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from danet_runtime.backends.base import UInt8Array


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
