"""The buffers that the frames of a stream and their labels live in."""

from __future__ import annotations

from dataclasses import replace

from danet_runtime.clock import now_ns
from danet_runtime.frames.arrays import UInt8Array, page_aligned
from danet_runtime.frames.device_arrays import DeviceArray
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.results.health import HealthState
from danet_runtime.results.result import Labelling, Result, read_only
from danet_runtime.sources.protocol.source import FrameInfo
from danet_runtime.timing import STAGES, Stage


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
        labelling: The model that labelled it, and its classes.
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
        self.labelling = Labelling()

    @property
    def model_input(self) -> UInt8Array | DeviceArray:
        """Array that the model reads: the frame on the GPU if its source puts it there, else ``frame``."""
        return self.frame if self.info.on_device is None else self.info.on_device

    def result(self) -> Result:
        """Return the result as of now: read-only views of the buffers, and the frame's present age."""
        age_ms = (now_ns() - self.info.capture_time_ns) / 1e6
        late = None if self.deadline_ms is None else bool(self.late) or age_ms > self.deadline_ms
        health = self.health
        if self.stale_after_ms is not None and age_ms > self.stale_after_ms and health != "fault":
            health = "stale"  # the watchdog may not have looked since, as after a standstill
        elif self.info.damage is not None and health == "ready":
            health = "degraded"  # what the health said when it came may be over since
        return Result(
            frame=read_only(self.frame),
            labels=read_only(self.labels),
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
            labelling=self.labelling,
        )

    def own_result(self) -> Result:
        """As :meth:`result`, in memory of its own; the age is told after the copy, which may be held up."""
        frame, labels = self.frame.copy(), self.labels.copy()
        return replace(self.result(), frame=read_only(frame), labels=read_only(labels))
