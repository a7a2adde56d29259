"""One camera of a stream: its source, its slots, its sinks and its figures.

A slot goes round: capture takes a free one and lets the source decode into it; the intake keeps it until
inference has its turn; every sink and the caller read it; whoever is through with it last frees it. One more
slot is kept for :meth:`Lane.latest`. A camera that comes back with another size or format gets slots of that
(:mod:`danet_runtime.stream.state.pool`); sinks are told with the first frame of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from danet_runtime.clock import now_ns
from danet_runtime.errors import BackendError, SourceError, UsageError
from danet_runtime.frames.pixel_formats import pixels_of
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.results.health import Health
from danet_runtime.results.result import FrameSlot, Result
from danet_runtime.sinks.protocol.sink import Sink, StreamFormat
from danet_runtime.sources.protocol.abilities import aspect_of, is_variable, why_awaited
from danet_runtime.sources.protocol.source import Source
from danet_runtime.stream.pipeline.capture import Capture
from danet_runtime.stream.pipeline.consumer import Consumer
from danet_runtime.stream.state.options import StreamOptions
from danet_runtime.stream.state.pool import SlotPool
from danet_runtime.stream.state.slots import ClosedError, Intake, Policy
from danet_runtime.stream.state.watch import Worker, wait_for
from danet_runtime.timing import LatencyRecorder

logger = logging.getLogger(__name__)


class Lane:
    """One camera.

    Args:
        number: Its place in the intake and among the caller's results.
        name: What to call it in results, reports and errors.
        source: Opened; closed by the stream.
        sinks: Opened when the stream starts.
        policy: ``every`` or ``latest``.
        options: Of the stream.
        health: Of the stream.
        intake: Where captured slots wait for inference.
        caller: Where results wait for the caller who iterates.
        failed: Called with what ended the lane or one of its sinks.
        max_frames: Stop after so many frames were read.
        under_way: How many frames inference may have under way; above 1 they are delivered by another thread.
        accept: Called with the name and the source that came back; raises ``UsageError`` where no model takes
            its frames.

    Attributes:
        slots: Its slots.
    """

    def __init__(
        self,
        number: int,
        name: str,
        source: Source,
        sinks: Sequence[Sink],
        policy: Policy,
        options: StreamOptions,
        health: Health,
        intake: Intake[FrameSlot],
        caller: Intake[FrameSlot],
        failed: Callable[[BaseException], None],
        max_frames: int | None,
        under_way: int = 1,
        accept: Callable[[str, Source], None] = lambda name, source: None,
    ) -> None:
        self.number = number
        self.name = name
        self.source = source
        self.policy = policy
        self.reached_limit = False
        self._options = options
        self._health = health
        self._intake = intake
        self._caller = caller
        self._failed = failed
        self._max_frames = max_frames
        self._accept = accept
        self.consumers = [
            Consumer(sink, _key(name, sink, index, sinks), policy, options, health, self._written, failed)
            for index, sink in enumerate(sinks)
        ]
        # Capture, intake, inference and the newest hold one slot each. A consumer holds one and has another
        # in its place: under ``every`` all wait for the slowest, so that these two are the same for everyone.
        consumers = len(sinks) + 1
        # With frames under way, these hold a slot each beside the one that is being delivered.
        overlapped = under_way if under_way > 1 else 0
        self.slots = SlotPool(name, 4 + overlapped + 2 * (1 if policy == "every" else consumers))
        self.capture = Capture(
            number,
            name,
            source,
            options,
            health,
            self.slots,
            self._take,
            self._adopt,
            failed,
            self._end_intake,
        )
        self._lock = threading.RLock()  # guards everything below, and the slots' reader counts
        self._newest: FrameSlot | None = None
        self.frames_in = 0
        self.frames_out = 0
        self.frames_late = 0
        self.frames_late_dropped = 0
        self.frames_failed = 0
        self.first_ns = 0
        self.last_ns = 0
        self._delivered_ns = 0
        self._awaited_ns = 0  # since when results have been due
        self.latency = LatencyRecorder()

    # From the stream.

    def open(self, segmenter: Segmenter) -> None:
        """Open the sinks and allocate the slots.

        Args:
            segmenter: Whose classes the labels are of.

        Raises:
            SinkError: A sink cannot be opened; those that were are closed.
        """
        source = self.source
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
        opened: list[Consumer] = []
        try:
            for consumer in self.consumers:
                consumer.open(wanted, is_assumed=why_awaited(source) is not None)
                opened.append(consumer)
            self.slots.allocate(source.size_hw, pixels, source.fps)
        except BaseException:
            for consumer in opened:
                with suppress(Exception):
                    consumer.sink.close()
            raise

    def start(self) -> None:
        """Start the threads."""
        for worker in self.workers:
            worker.thread.start()

    @property
    def workers(self) -> list[Worker]:
        """Of capture and of the sinks."""
        return [self.capture.worker, *(consumer.worker for consumer in self.consumers)]

    def stop(self) -> None:
        """Read nothing more; what was captured is still wanted."""
        self._intake.close(self.number)
        self.capture.stop()
        self.slots.close()

    @property
    def has_outputs(self) -> bool:
        """Whether any of its sinks is left, or it never had one."""
        return not self.consumers or not all(consumer.lost for consumer in self.consumers)

    def end_consumers(self) -> None:
        """Nothing more will be delivered."""
        for consumer in self.consumers:
            consumer.end()

    def look(self) -> None:
        """What the watchdog asks: a stuck source, masks that are stale, sinks that hang."""
        for consumer in self.consumers:
            consumer.look()
        self.capture.look()
        if self.source.live and not self.capture.has_ended:
            self._look_at_age()

    def _look_at_age(self) -> None:
        now = now_ns()
        with self._lock:
            if not self._awaited_ns and self.frames_in and self._health.state != "starting":
                self._awaited_ns = now
            since_ns = self._delivered_ns or self._awaited_ns
            if not since_ns:
                return
            # By its own capture time a mask may be older than by its arrival; what counts is the worse.
            captured_ns = self._newest.info.capture_time_ns if self._newest is not None else since_ns
        age_s = (now - min(since_ns, captured_ns)) / 1e9
        if age_s > self._options.stale_after_s:
            reason = f"{self.name} has no mask that is younger than {self._options.stale_after_s:g} s"
            self._health.set(f"{self.name}.old", "stale", reason)
        else:
            self._health.clear(f"{self.name}.old")

    # From inference.

    def deliver(self, slot: FrameSlot, late: bool | None) -> None:
        """Hand a segmented slot to every sink and the caller; waits only under ``every``."""
        slot.late, slot.deadline_ms = late, self._options.deadline_ms
        slot.stale_after_ms = 1e3 * self._options.stale_after_s if self.source.live else None
        slot.health = self._health.state
        with self._lock:
            self.frames_late += bool(late)
            if late and self._options.late == "drop":
                self.frames_late_dropped += 1
                slot.is_pending = False
                slot.readers = 1
            else:
                slot.writers = len(self.consumers)
                slot.readers = slot.writers + 2  # the caller, and the newest
                newest, self._newest = self._newest, slot
                self._delivered_ns = now_ns()
                if not slot.writers:
                    self._count_out(slot)
        if late and self._options.late == "drop":
            self._release(slot)
            return
        if newest is not None:
            self._release(newest)
        for consumer in self.consumers:
            consumer.give(slot)
        try:
            displaced = self._caller.put(self.number, slot)
        except ClosedError:  # the caller has left; the sinks go on
            displaced = slot
        if displaced is not None:
            self._release(displaced)

    def drop_failed(self, slot: FrameSlot) -> None:
        """A frame that could not be segmented."""
        with self._lock:
            self.frames_failed += 1
            slot.is_pending = False
            slot.readers = 1
        self._release(slot)

    def release(self, slot: FrameSlot) -> None:
        """The caller is through with a slot."""
        self._release(slot)

    # From anybody.

    def wait_for_sinks(self, grace_s: float) -> None:
        """Wait for each sink's thread, so long at most; one that is still busy then is given up."""
        for consumer in self.consumers:
            if not consumer.lost and not wait_for([consumer.worker], grace_s):
                consumer.give_up_after(grace_s)

    def unpin(self, segmenters: Sequence[Segmenter]) -> None:
        """Let the segmenters go of the slots; where the GPU is lost they stay as they are."""
        with suppress(BackendError):
            for segmenter in segmenters:
                for slot in [*self.slots.slots, *self.slots.retired]:
                    segmenter.unpin(slot.frame, slot.labels)

    def latest(self, max_age_ms: float) -> Result | None:
        """The newest result as a copy that the caller owns, or nothing where it is older than asked."""
        with self._lock:
            slot = self._newest
            if slot is None or (now_ns() - slot.info.capture_time_ns) / 1e6 > max_age_ms:
                return None
            slot.readers += 1
        try:
            frame, labels = slot.frame.copy(), slot.labels.copy()
            result = slot.result()  # its age is told after the copy, which a busy machine may hold up
            return None if result.age_ms > max_age_ms else replace(result, frame=frame, labels=labels)
        finally:
            self._release(slot)

    def describe(self) -> dict[str, Any]:
        """Figures of this camera for reports; once it has ended, ``in`` is the sum of the others."""
        with self._lock:
            dropped = self._intake.dropped(self.number)
            return {
                "name": self.name,
                "policy": self.policy,
                "frames": {
                    "in": self.frames_in,
                    "out": self.frames_out,
                    "dropped": dropped,
                    "late_dropped": self.frames_late_dropped,
                    "failed": self.frames_failed,
                    "unfinished": sum(slot.is_pending for slot in self.slots.slots),
                },
                "late": self.frames_late,
                "damaged": dict(self.capture.damage.counts),
                "reconnects": self.capture.reconnects,
                "latency": self.latency.summary().to_dict(),
                "source": self.source.describe(),
                "sinks": [consumer.describe() for consumer in self.consumers],
            }

    # From capture.

    def _take(self, slot: FrameSlot) -> bool:
        slot.is_pending = True
        with self._lock:
            self.first_ns = self.first_ns or slot.started_ns
            self.frames_in += 1
            self.reached_limit = self.frames_in == self._max_frames
        displaced = self._intake.put(self.number, slot)
        if displaced is not None:
            displaced.is_pending = False
            self.slots.put(displaced)
        return not self.reached_limit

    def _adopt(self) -> None:
        """The source was opened again: have slots of what it gives now.

        Raises:
            SourceError: No model takes its frames.
            MemoryError: There is no room for its frames.
        """
        pixels = pixels_of(self.source)
        try:
            self._accept(self.name, self.source)
        except UsageError as error:
            raise SourceError(str(error)) from error
        if self.slots.allocate(self.source.size_hw, pixels, self.source.fps):
            height, width = self.source.size_hw
            logger.info("%s now has frames of %dx%d in %s", self.name, height, width, pixels)

    def _end_intake(self) -> None:
        self._intake.close(self.number)  # the frames before are still wanted

    # What they share.

    def _written(self, slot: FrameSlot, sink_ns: int) -> None:
        with self._lock:
            # Sinks run side by side; the slowest is the one that the frame waited for.
            slot.stage_ns[4] = max(slot.stage_ns[4], sink_ns)
            slot.writers -= 1
            if not slot.writers:
                self._count_out(slot)
        self._release(slot)

    def _count_out(self, slot: FrameSlot) -> None:
        self.last_ns = now_ns()
        slot.is_pending = False
        self.frames_out += 1
        self.latency.add(slot.stage_ns, self.last_ns - slot.started_ns)

    def _release(self, slot: FrameSlot) -> None:
        with self._lock:
            slot.readers -= 1
            is_free = slot.readers == 0
        if is_free:
            self.slots.put(slot)


def _key(name: str, sink: Sink, index: int, sinks: Sequence[Sink]) -> str:
    same = [other for other in sinks if other.name == sink.name]
    return f"{name}.{sink.name}" if len(same) == 1 else f"{name}.{sink.name}-{index}"
