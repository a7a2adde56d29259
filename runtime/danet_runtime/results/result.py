"""One segmented frame, as a stream delivers it, and the buffers that it lives in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from danet_runtime.clock import now_ns
from danet_runtime.frames.arrays import UInt8Array, page_aligned
from danet_runtime.frames.color import to_bgr
from danet_runtime.frames.device_arrays import DeviceArray
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.results.health import HealthState
from danet_runtime.sources.protocol.damage import DamageReason
from danet_runtime.sources.protocol.source import CaptureClock, FrameInfo
from danet_runtime.timing import STAGES, Stage


@dataclass(frozen=True, eq=False)
class Result:
    """A frame and its labels.

    The arrays belong to the stream, which uses them again. A sink may read them during ``write``; the
    caller who iterates may read them until asking for the next result or leaving the ``with`` block. Nobody
    writes to them. Copy what must live longer.

    Attributes:
        frame: uint8 as the source gave it, in the layout of ``pixels``: (H, W, 3) where that is BGR.
        labels: (H, W) uint8, positions in the bundle's classes; 255 where there is none.
        frame_id: The frame's number in its source; it grows, with gaps where frames were dropped.
        capture_time_ns: Time when the frame was captured, on the clock of :mod:`danet_runtime.clock`.
        age_ms: Age of the frame at delivery to whoever holds this result, since ``capture_time_ns``.
        stages_ms: Time spent in ``capture``, ``preprocess``, ``inference`` and ``postprocess``.
        media_time_ms: Position in the file, where the source has one.
        name: Name of the picture, where the source has one.
        source: Name of the camera.
        capture_clock: Source of the capture time: the clock of the sensor or of the stream, or the time of
            arrival.
        late: Whether the deadline was missed, at delivery to whoever holds this result; ``None`` where there
            is none.
        health: State of the stream when inference ended; ``stale`` where a live source's mask is older than
            the stream allows, at delivery to whoever holds this result; never ``ready`` of a damaged frame.
        pixels: Format of the frame.
        damage: Why the frame is not to be trusted, where damaged frames were asked for; else ``None``.
    """

    frame: UInt8Array
    labels: UInt8Array
    frame_id: int
    capture_time_ns: int
    age_ms: float
    stages_ms: Mapping[str, float]
    media_time_ms: float | None = None
    name: str | None = None
    source: str = "source"
    capture_clock: CaptureClock = "arrival"
    late: bool | None = None
    health: HealthState = "ready"
    pixels: Pixels = BGR
    damage: DamageReason | None = None

    def bgr(self) -> UInt8Array:
        """The frame as (H, W, 3) uint8 BGR: itself where it is that already, else a new array.

        Raises:
            MissingDependencyError: It must be converted and OpenCV is not installed.
        """
        return to_bgr(self.frame, self.pixels)


class FrameSlot:
    """The buffers of one frame in flight, allocated once and used again; a stream owns them.

    Args:
        size_hw: Height and width of the source's frames.
        source: Name of the camera.
        pixels: Pixel format of the frames that the source writes.
        fps: Rate of the source, where it tells one.

    Attributes:
        size_hw: Height and width.
        pixels: Format of the frame.
        fps: Rate of the source.
        frame: uint8 in the layout of ``pixels``, written by the source.
        luma: A view of what is bright or dark in it; see
            :meth:`danet_runtime.frames.pixel_formats.Pixels.luma`.
        labels: (H, W) uint8, written by the segmenter.
        info: Facts about the frame from its source.
        started_ns: Time when its capture started, on the clock of :mod:`danet_runtime.clock`.
        stage_ns: Nanoseconds of each of :data:`danet_runtime.timing.STAGES`.
        late: Whether it missed the deadline at the end of inference.
        deadline_ms: Deadline of the stream; ``None``: there is none.
        stale_after_ms: Age beyond which a mask of a live source is stale; ``None``: it never is.
        is_pinned: Whether the segmenters have been shown its buffers.
        health: State of the stream when it was segmented.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        source: str = "source",
        pixels: Pixels = BGR,
        fps: float | None = None,
    ) -> None:
        self._source = source
        self.size_hw = size_hw
        self.pixels = pixels
        self.fps = fps
        self.frame: UInt8Array = page_aligned(pixels.shape(size_hw))
        self.luma = pixels.luma(self.frame)
        self.labels: UInt8Array = page_aligned(size_hw)
        self.info = FrameInfo(-1, 0)
        self.started_ns = 0
        self.stage_ns: dict[Stage, int] = dict.fromkeys(STAGES, 0)
        self.late: bool | None = None
        self.deadline_ms: float | None = None
        self.stale_after_ms: float | None = None
        self.is_pinned = False
        self.health: HealthState = "starting"

    @property
    def model_input(self) -> UInt8Array | DeviceArray:
        """Array that the model reads: the frame on the GPU if its source puts it there, else ``frame``."""
        return self.frame if self.info.on_device is None else self.info.on_device

    def result(self) -> Result:
        """Return the result as of now: views of the buffers, and the frame's present age."""
        age_ms = (now_ns() - self.info.capture_time_ns) / 1e6
        late = None if self.deadline_ms is None else bool(self.late) or age_ms > self.deadline_ms
        health = self.health
        if self.stale_after_ms is not None and age_ms > self.stale_after_ms and health != "fault":
            health = "stale"  # the watchdog may not have looked since, as after a standstill
        elif self.info.damage is not None and health == "ready":
            health = "degraded"  # what the health said when it came may be over since
        return Result(
            frame=self.frame,
            labels=self.labels,
            frame_id=self.info.id,
            source=self._source,
            capture_time_ns=self.info.capture_time_ns,
            capture_clock=self.info.clock,
            age_ms=age_ms,
            stages_ms={stage: ns / 1e6 for stage, ns in self.stage_ns.items() if stage != "sink"},
            late=late,
            health=health,
            media_time_ms=self.info.media_time_ms,
            name=self.info.name,
            pixels=self.pixels,
            damage=self.info.damage,
        )
