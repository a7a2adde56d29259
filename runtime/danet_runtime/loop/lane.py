"""One camera of a stream: its source, its slots, its sinks and its figures.

A slot goes round: capture takes a free one and lets the source decode into it; the intake keeps it until
inference has its turn; every sink and the caller read it; whoever is through with it last frees it. One more
slot is kept for :meth:`Lane.latest`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from danet_runtime.errors import DanetError, SourceError
from danet_runtime.frame_checks import FrameCheck
from danet_runtime.health import Health
from danet_runtime.loop.consumer import Consumer
from danet_runtime.loop.options import StreamOptions
from danet_runtime.loop.watch import Worker
from danet_runtime.pixel_formats import pixels_of
from danet_runtime.result import FrameSlot, Result
from danet_runtime.sinks.base import Sink, StreamFormat
from danet_runtime.slots import ClosedError, Handover, Intake, Policy
from danet_runtime.sources.base import FrameInfo, Source
from danet_runtime.timing import LatencyRecorder

logger = logging.getLogger(__name__)


class Lane:
    """One camera.

    Args:
        number: Its place in the intake and among the caller's results.
        name: What to call it in results, reports and errors.
        source: Opened; closed by the lane.
        sinks: Opened when the stream starts.
        policy: ``every`` or ``latest``.
        options: Of the stream.
        health: Of the stream.
        intake: Where captured slots wait for inference.
        caller: Where results wait for the caller who iterates.
        failed: Called with what ended the lane or one of its sinks.
        max_frames: Stop after so many frames were read.
        under_way: How many frames inference may have under way; above 1 they are delivered by another thread.
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
        self.pixels = pixels_of(source)
        self._check = FrameCheck(
            name, health, options.frozen_after_s, options.black_after_s, self.pixels.black_level
        )
        self.consumers = [
            Consumer(sink, _key(name, sink, index, sinks), policy, options, health, self._written, failed)
            for index, sink in enumerate(sinks)
        ]
        # Capture, intake, inference and the newest hold one slot each. A consumer holds one and has another
        # in its place: under ``every`` all wait for the slowest, so that these two are the same for everyone.
        consumers = len(sinks) + 1
        # With frames under way, these hold a slot each beside the one that is being delivered.
        overlapped = under_way if under_way > 1 else 0
        self.slots: list[FrameSlot] = []
        self._free: Handover[FrameSlot] = Handover(
            4 + overlapped + 2 * (1 if policy == "every" else consumers)
        )
        self._end = threading.Event()
        self._interrupted = False
        self._id_offset = 0
        self._last_id = -1
        self.worker = Worker(f"capture-{number}", self._capture)

        self._lock = threading.Lock()  # guards everything below, and the slots' reader counts
        self._newest: FrameSlot | None = None
        self.frames_in = 0
        self.frames_out = 0
        self.frames_late = 0
        self.frames_late_dropped = 0
        self.frames_failed = 0
        self.reconnects = 0
        self.first_ns = 0
        self.last_ns = 0
        self._delivered_ns = 0
        self.latency = LatencyRecorder()

    # From the stream.

    def open(self, stream_format: StreamFormat) -> None:
        """Open the sinks and allocate the slots.

        Raises:
            SinkError: A sink cannot be opened; those that were are closed.
        """
        opened: list[Consumer] = []
        try:
            for consumer in self.consumers:
                consumer.open(stream_format)
                opened.append(consumer)
            self.slots = [
                FrameSlot(self.source.size_hw, self.name, self.pixels) for _ in range(self._free.capacity)
            ]
            for slot in self.slots:
                self._free.put(slot)
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
        return [self.worker, *(consumer.worker for consumer in self.consumers)]

    def stop(self) -> None:
        """Read nothing more; what was captured is still wanted."""
        self._end.set()
        self._intake.close(self.number)
        self._free.abort()
        self.interrupt()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be read."""
        return self._end.is_set()

    def end_consumers(self) -> None:
        """Nothing more will be delivered."""
        for consumer in self.consumers:
            consumer.end()

    def look(self) -> None:
        """What the watchdog asks: a stuck source, masks that are stale, sinks that hang."""
        for consumer in self.consumers:
            consumer.look()
        if self._end.is_set():
            return
        busy_s = self.worker.busy_s
        if busy_s > self._options.source_timeout_s:
            reason = f"{self.name} has given no frame for {self._options.source_timeout_s:g} s"
            self._health.set(f"{self.name}.stuck", "stale", reason)
            if not self._interrupted:
                self._interrupted = True
                self.interrupt()
        if self.source.live and self._delivered_ns:
            age_s = (time.monotonic_ns() - self._delivered_ns) / 1e9
            if age_s > self._options.stale_after_s:
                reason = f"{self.name} has had no mask for {self._options.stale_after_s:g} s"
                self._health.set(f"{self.name}.old", "stale", reason)

    # From inference.

    def deliver(self, slot: FrameSlot, late: bool | None) -> None:
        """Hand a segmented slot to every sink and the caller; waits only under ``every``."""
        slot.late = late
        slot.health = self._health.state
        with self._lock:
            self.frames_late += bool(late)
            if late and self._options.late == "drop":
                self.frames_late_dropped += 1
                slot.readers = 1
            else:
                slot.writers = len(self.consumers)
                slot.readers = slot.writers + 2  # the caller, and the newest
                newest, self._newest = self._newest, slot
                self._delivered_ns = time.monotonic_ns()
                if not slot.writers:
                    self._count_out(slot)
        if late and self._options.late == "drop":
            self._release(slot)
            return
        self._health.clear(f"{self.name}.old")
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
            slot.readers = 1
        self._release(slot)

    def release(self, slot: FrameSlot) -> None:
        """The caller is through with a slot."""
        self._release(slot)

    # From anybody.

    def latest(self, max_age_ms: float) -> Result | None:
        """The newest result as a copy that the caller owns, or nothing where it is older than asked."""
        with self._lock:
            slot = self._newest
            if slot is None or (time.monotonic_ns() - slot.info.capture_time_ns) / 1e6 > max_age_ms:
                return None
            slot.readers += 1
        try:
            result = slot.result()
            return replace(result, frame=result.frame.copy(), labels=result.labels.copy())
        finally:
            self._release(slot)

    def describe(self) -> dict[str, Any]:
        """Figures of this camera for reports; ``in`` is the sum of the others."""
        with self._lock:
            dropped = self._intake.dropped(self.number)
            counted = self.frames_out + dropped + self.frames_late_dropped + self.frames_failed
            return {
                "name": self.name,
                "policy": self.policy,
                "frames": {
                    "in": self.frames_in,
                    "out": self.frames_out,
                    "dropped": dropped,
                    "late_dropped": self.frames_late_dropped,
                    "failed": self.frames_failed,
                    "unfinished": self.frames_in - counted,
                },
                "late": self.frames_late,
                "reconnects": self.reconnects,
                "latency": self.latency.summary().to_dict(),
                "source": self.source.describe(),
                "sinks": [consumer.describe() for consumer in self.consumers],
            }

    # The capture thread.

    def _capture(self) -> None:
        try:
            while not self._end.is_set():
                slot = self._free.get()
                info = self._read(slot)
                if info is None:
                    break
                self._take(slot, info)
                if self.reached_limit:
                    break
        except ClosedError:
            pass  # the stream is being stopped, or inference has ended
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._failed(
                error
                if isinstance(error, Exception)
                else SourceError(f"the capture thread of {self.name} was ended by {type(error).__name__}")
            )
        finally:
            self._end.set()
            self._intake.close(self.number)  # the frames before are still wanted

    def _read(self, slot: FrameSlot) -> FrameInfo | None:
        while True:
            slot.started_ns = time.monotonic_ns()
            try:
                with self.worker:
                    info = self.source.read_into(slot.frame)
                if info is not None or not self._can_reopen():
                    return info
                problem = "ended"
            except DanetError as error:
                if self._end.is_set() and self.source.live:
                    return None  # it was interrupted so that the stream can end
                if not self._can_reopen():
                    raise
                problem = str(error)
            if not self._reconnect(problem, slot):
                return None

    def _take(self, slot: FrameSlot, info: FrameInfo) -> None:
        self._interrupted = False
        self._health.clear(f"{self.name}.stuck")
        self._health.clear(f"{self.name}.lost")
        if self._id_offset:
            info = replace(info, id=info.id + self._id_offset)
        self._last_id = info.id
        slot.info = info
        slot.stage_ns[:] = (time.monotonic_ns() - slot.started_ns, 0, 0, 0, 0)
        if self.source.live:
            self._check.look(slot.luma, info.capture_time_ns)
        with self._lock:
            self.first_ns = self.first_ns or slot.started_ns
            self.frames_in += 1
            self.reached_limit = self.frames_in == self._max_frames
        displaced = self._intake.put(self.number, slot)
        if displaced is not None:
            self._free.put(displaced)

    def _can_reopen(self) -> bool:
        return self.source.live and hasattr(self.source, "reopen")

    def _reconnect(self, problem: str, slot: FrameSlot) -> bool:
        """Open the source again and again; false where the stream is stopped meanwhile."""
        self._health.set(f"{self.name}.lost", "stale", f"{self.name} is lost: {problem}")
        lost_s, pause_s = time.monotonic(), self._options.reconnect_first_s
        while not self._end.wait(pause_s * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter is no secret
            self._health.clear(f"{self.name}.stuck")
            self._interrupted = False
            try:
                with self.worker:
                    self.source.reopen()  # type: ignore[attr-defined]  # see _can_reopen
            except DanetError as error:
                self._health.set(f"{self.name}.lost", "stale", f"{self.name} is lost: {error}")
                given_up = self._options.give_up_after_s
                too_long = given_up is not None and time.monotonic() - lost_s > given_up
                if too_long and not self._end.is_set():
                    raise
                pause_s = min(pause_s * 2, self._options.reconnect_most_s)
                continue
            if self.source.size_hw != slot.size_hw:
                raise SourceError(
                    f"{self.name} came back with frames of {self.source.size_hw}, before it had "
                    f"{slot.size_hw} (height, width); start the stream again for the new size"
                )
            if pixels_of(self.source) != slot.pixels:
                raise SourceError(
                    f"{self.name} came back with frames in {pixels_of(self.source)}, before it had "
                    f"{slot.pixels}; start the stream again for the new format"
                )
            self.reconnects += 1
            self._id_offset = self._last_id + 1
            return True
        return False

    def interrupt(self) -> None:
        """Make a read or an opening that hangs return, where the source can be told to; from any thread."""
        interrupt = getattr(self.source, "interrupt", None)
        if interrupt is not None:
            with suppress(Exception):
                interrupt()

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
        self.last_ns = time.monotonic_ns()
        self.frames_out += 1
        self.latency.add(slot.stage_ns, self.last_ns - slot.started_ns)

    def _release(self, slot: FrameSlot) -> None:
        with self._lock:
            slot.readers -= 1
            is_free = slot.readers == 0
        if is_free:
            with suppress(ClosedError):
                self._free.put(slot)


def _key(name: str, sink: Sink, index: int, sinks: Sequence[Sink]) -> str:
    same = [other for other in sinks if other.name == sink.name]
    return f"{name}.{sink.name}" if len(same) == 1 else f"{name}.{sink.name}-{index}"
