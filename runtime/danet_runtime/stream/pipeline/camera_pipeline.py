"""One camera of a stream: the thread that reads it, its slots, its sinks and its figures.

What a slot passes on its way round is drawn in :mod:`danet_runtime.stream.state.pool`. A camera that comes
back with another size or format gets slots of that; sinks are told with the first frame of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from danet_runtime.errors import BackendError, DanetError, SourceError, UsageError
from danet_runtime.frames.pixel_formats import pixels_of
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sources.protocol.abilities import aspect_of, is_variable, why_awaited
from danet_runtime.sources.protocol.source import Source
from danet_runtime.stream.pipeline.camera import Camera
from danet_runtime.stream.pipeline.capture import Capture
from danet_runtime.stream.pipeline.delivery import Delivery
from danet_runtime.stream.pipeline.frame_counts import FrameCounts
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.pool import SlotPool
from danet_runtime.stream.state.slots import ClosedError, Intake
from danet_runtime.stream.state.watch import Worker

logger = logging.getLogger(__name__)


class CameraPipeline:
    """One camera.

    Args:
        camera: The camera as the caller described it.
        context: Shared state of the stream.
        intake: Queue of captured slots that wait for inference.
        caller: Queue of the results that wait for the caller who iterates.
        under_way: Most frames that inference may have in flight; above 1 another thread delivers them.
        accept: Called with the name and the source that came back; raises ``UsageError`` where no model takes
            its frames.

    Attributes:
        camera: The camera as the caller described it.
        slots: Slots of the camera.
        counts: Counts of the camera's frames.
        capture: Reads the camera's frames.
        delivery: Passes its results to the sinks and to the caller.
        reached_limit: Whether as many frames were read as were asked for.
    """

    def __init__(
        self,
        camera: Camera,
        context: StreamContext,
        intake: Intake[FrameSlot],
        caller: Intake[FrameSlot],
        under_way: int = 1,
        accept: Callable[[str, Source], None] = lambda name, source: None,
    ) -> None:
        self.camera = camera
        self.reached_limit = False
        self._intake = intake
        self._accept = accept
        # Capture, intake, inference and the newest hold one slot each. A sink's worker holds one and has
        # another in its place: under ``every`` all wait for the slowest, so that these two are the same for
        # everyone.
        sink_workers = len(camera.sinks) + 1
        # With frames under way, these hold a slot each beside the one that is being delivered.
        overlapped = under_way if under_way > 1 else 0
        self.slots = SlotPool(
            camera.name, 4 + overlapped + 2 * (1 if camera.policy == "every" else sink_workers)
        )
        self.counts = FrameCounts()
        self.capture = Capture(camera, context, self.slots, self.take, self._adopt, self._end_intake)
        self.delivery = Delivery(camera, context, self.slots, self.counts, caller, self.stop)
        context.at_end(self._end)

    # From the stream.

    def open(self, segmenter: Segmenter) -> None:
        """Open the sinks and allocate the slots.

        Args:
            segmenter: Segmenter that defines the classes of the labels.

        Raises:
            SinkError: A sink cannot be opened; those that were are closed.
        """
        source = self.camera.source
        pixels = pixels_of(source)
        wanted = StreamFormat(
            source.size_hw,
            source.fps,
            segmenter.classes,
            segmenter.palette,
            pixels,
            aspect_of(source),
            is_variable(source),
        )
        self.delivery.open(wanted, is_assumed=why_awaited(source) is not None)
        try:
            self.slots.allocate(source.size_hw, pixels, source.fps)
        except BaseException:
            self.close_sinks()
            raise

    def close_sinks(self) -> None:
        """Close sinks that were opened and never written to."""
        for sink_worker in self.delivery.sink_workers:
            with suppress(DanetError, OSError):
                sink_worker.sink.close()

    def start(self) -> None:
        """Start the threads."""
        for worker in self.workers:
            worker.thread.start()

    @property
    def workers(self) -> list[Worker]:
        """Threads of capture and of the sinks."""
        return [self.capture.worker, *(sink_worker.worker for sink_worker in self.delivery.sink_workers)]

    def stop(self) -> None:
        """Read nothing more; what was captured is still wanted."""
        self._end_intake()
        self.capture.stop()
        self.slots.close()

    def _end(self) -> None:
        self.stop()
        self.delivery.end()

    def look(self) -> None:
        """Check for the watchdog: a stuck source, masks that are stale, sinks that hang."""
        self.delivery.look()
        self.capture.look()
        if self.camera.source.live and not self.capture.has_ended:
            self.delivery.look_at_age()

    # From capture.

    def take(self, slot: FrameSlot) -> bool:
        """Take a slot with a new frame; return false if no more frames are wanted.

        Raises:
            ClosedError: The stream has ended.
        """
        self.reached_limit = self.counts.captured(slot) == self.camera.max_frames
        try:
            displaced = self._intake.put(self.camera.number, slot)
        except ClosedError:
            self.abandon(slot)
            raise
        if displaced is not None:
            self.counts.displaced(displaced)
            self.slots.put(displaced)
        return not self.reached_limit

    def _adopt(self) -> None:
        """Adopt the frame format of a source that was opened again.

        Raises:
            SourceError: No model takes its frames.
            MemoryError: There is no room for its frames.
        """
        name, source = self.camera.name, self.camera.source
        pixels = pixels_of(source)
        try:
            self._accept(name, source)
        except UsageError as error:
            raise SourceError(str(error)) from error
        if self.slots.allocate(source.size_hw, pixels, source.fps):
            height, width = source.size_hw
            logger.info("%s now has frames of %dx%d in %s", name, height, width, pixels)

    def _end_intake(self) -> None:
        self._intake.close(self.camera.number)  # the frames before are still wanted

    # From inference.

    def drop_failed(self, slot: FrameSlot) -> None:
        """Count a frame that could not be segmented, and free its slot."""
        self.counts.failed(slot)
        self.slots.put(slot)

    def abandon(self, slot: FrameSlot) -> None:
        """Count a frame that was unfinished when the stream ended, and free its slot."""
        self.counts.abandoned(slot)
        self.slots.put(slot)

    # From anybody.

    def unpin(self, segmenters: Sequence[Segmenter]) -> None:
        """Let the segmenters go of the slots; where the GPU is lost they stay as they are."""
        with suppress(BackendError):
            for segmenter in segmenters:
                for slot in [*self.slots.slots, *self.slots.retired]:
                    segmenter.unpin(slot.frame, slot.labels)

    def describe(self) -> dict[str, Any]:
        """Figures of this camera for reports."""
        camera = self.camera
        return {
            "name": camera.name,
            "policy": camera.policy,
            "frames": self.counts.describe(self._intake.dropped(camera.number)),
            "late": self.counts.frames_late,
            "damaged": dict(self.capture.damage.counts),
            "reconnects": self.capture.reconnects,
            "latency": self.counts.latency().to_dict(),
            "source": camera.source.describe(),
            "sinks": [sink_worker.describe() for sink_worker in self.delivery.sink_workers],
        }
