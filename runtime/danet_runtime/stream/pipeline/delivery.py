"""Delivery of results to their readers: the sinks of one camera, the caller, and requests for the newest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from danet_runtime.clock import now_ns
from danet_runtime.results.result import Result
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.stream.pipeline.camera import Camera
from danet_runtime.stream.pipeline.frame_counts import FrameCounts
from danet_runtime.stream.pipeline.sink_worker import SinkWorker
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.pool import SlotPool
from danet_runtime.stream.state.slots import ClosedError, Intake
from danet_runtime.stream.state.watch import wait_for


class Delivery:
    """Shares every segmented slot between its readers; one more is kept for :meth:`latest`.

    Args:
        camera: The camera whose results are delivered.
        context: Shared state of the stream.
        slots: Slots of the camera.
        counts: Counts of the camera's frames.
        caller: Queue of the results that wait for the caller who iterates.
        all_lost: Called when every sink was given up, so that frames have no reader left.

    Attributes:
        sink_workers: The sinks, each in a thread of its own.
    """

    def __init__(
        self,
        camera: Camera,
        context: StreamContext,
        slots: SlotPool,
        counts: FrameCounts,
        caller: Intake[FrameSlot],
        all_lost: Callable[[], None],
    ) -> None:
        self._camera = camera
        self._context = context
        self._slots = slots
        self._counts = counts
        self._caller = caller
        self._all_lost = all_lost
        self.sink_workers = [
            SinkWorker(sink, key, camera.policy, context, self._written, self._failed)
            for sink, key in zip(camera.sinks, camera.sink_keys(), strict=True)
        ]
        self._lock = threading.RLock()  # guards what is below; a signal's handler may come in between
        self._newest: FrameSlot | None = None
        self._delivered_ns = 0
        self._awaited_ns = 0  # since when results have been due

    def open(self, stream_format: StreamFormat, *, is_assumed: bool) -> None:
        """Open the sinks.

        Args:
            stream_format: Format of the frames to come.
            is_assumed: Whether that format is only assumed, since no frame has arrived yet.

        Raises:
            SinkError: A sink cannot be opened; those that were opened are closed again.
        """
        opened: list[SinkWorker] = []
        try:
            for sink_worker in self.sink_workers:
                sink_worker.open(stream_format, is_assumed=is_assumed)
                opened.append(sink_worker)
        except BaseException:
            for sink_worker in opened:
                with suppress(Exception):
                    sink_worker.sink.close()
            raise

    # From inference.

    def deliver(self, slot: FrameSlot, late: bool | None) -> None:
        """Hand a segmented slot to every sink and the caller; waits only under ``every``."""
        options = self._context.options
        slot.late, slot.deadline_ms = late, options.deadline_ms
        slot.stale_after_ms = 1e3 * options.stale_after_s if self._camera.source.live else None
        slot.health = self._context.health.state
        if late and options.late == "drop":
            self._counts.late_dropped(slot)
            self._slots.put(slot)
            return
        self._slots.share(slot, len(self.sink_workers) + 2)  # the sinks, the caller, and the newest
        self._counts.delivered(slot, len(self.sink_workers))
        with self._lock:
            newest, self._newest = self._newest, slot
            self._delivered_ns = now_ns()
        if newest is not None:
            self.release(newest)
        for sink_worker in self.sink_workers:
            sink_worker.give(slot)
        try:
            displaced = self._caller.put(self._camera.number, slot)
        except ClosedError:  # the caller has left; the sinks go on
            displaced = slot
        if displaced is not None:
            self.release(displaced)

    def end(self) -> None:
        """Deliver no more results: let the sinks write those that are waiting, and finish."""
        for sink_worker in self.sink_workers:
            sink_worker.end()

    # From those who read.

    def release(self, slot: FrameSlot) -> None:
        """Note that a reader has finished with a slot."""
        self._slots.release(slot)

    def latest(self, max_age_ms: float) -> Result | None:
        """Return the newest result as a copy that the caller owns; ``None`` if it is too old."""
        with self._lock:
            slot = self._newest
            if slot is None or (now_ns() - slot.info.capture_time_ns) / 1e6 > max_age_ms:
                return None
            self._slots.borrow(slot)
        try:
            result = slot.own_result()
            return None if result.age_ms > max_age_ms else result
        finally:
            self.release(slot)

    def _written(self, slot: FrameSlot, sink_ns: int) -> None:
        self._counts.written(slot, sink_ns)
        self.release(slot)

    def _failed(self, error: BaseException) -> None:
        self._context.fail(error)
        if self._camera.policy == "every" and all(sink_worker.lost for sink_worker in self.sink_workers):
            self._all_lost()

    # From the watchdog, and at the end.

    def look(self) -> None:
        """Whether sinks hang."""
        for sink_worker in self.sink_workers:
            sink_worker.look()

    def look_at_age(self) -> None:
        """Whether masks are stale."""
        now = now_ns()
        health, limit_s, name = self._context.health, self._context.options.stale_after_s, self._camera.name
        with self._lock:
            if not self._awaited_ns and self._counts.frames_in and health.state != "starting":
                self._awaited_ns = now
            since_ns = self._delivered_ns or self._awaited_ns
            if not since_ns:
                return
            # By its own capture time a mask may be older than by its arrival; what counts is the worse.
            captured_ns = self._newest.info.capture_time_ns if self._newest is not None else since_ns
        if (now - min(since_ns, captured_ns)) / 1e9 > limit_s:
            health.set(f"{name}.old", "stale", f"{name} has no mask that is younger than {limit_s:g} s")
        else:
            health.clear(f"{name}.old")

    def give_up_after(self, limit_s: float) -> None:
        """Go on without each sink that has been busy with one frame for ``limit_s`` seconds."""
        for sink_worker in self.sink_workers:
            sink_worker.give_up_after(limit_s)

    def wait_for_sinks(self, grace_s: float) -> None:
        """Wait for each sink's thread; one that is busy with one frame for ``grace_s`` is given up."""
        for sink_worker in self.sink_workers:
            if not sink_worker.lost and not wait_for([sink_worker.worker], grace_s):
                sink_worker.give_up_after(grace_s)
