"""The running part of a stream: its cameras, inference and watchdog, from their start to their end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from danet_runtime.errors import SourceError, UsageError
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.results.health import Health, Listener
from danet_runtime.results.result import Result
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sinks.protocol.sink import Sink
from danet_runtime.sources.protocol.source import Source
from danet_runtime.stream.arguments import cameras_of, check_frames, check_models
from danet_runtime.stream.inference.overlapped import frames_under_way, make_inference
from danet_runtime.stream.lifecycle import Lifecycle, State
from danet_runtime.stream.pipeline.camera_pipeline import CameraPipeline
from danet_runtime.stream.pipeline.delivery import Delivery
from danet_runtime.stream.report import Ending, StreamReport
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.options import StreamOptions
from danet_runtime.stream.state.slots import Intake, Policy
from danet_runtime.stream.state.watch import wait_for
from danet_runtime.stream.summary import summarise
from danet_runtime.stream.supervision import Supervision

logger = logging.getLogger(__name__)


class Loop:
    """The running part of a stream, held by its threads and by :class:`danet_runtime.Stream`.

    Nothing here refers to the ``Stream``. So a ``Stream`` that its user forgets is collected although its
    threads live, and the watchdog closes the loop.
    Arguments and methods are the stream's.

    Attributes:
        life: Decides which thread starts and which closes.
    """

    def __init__(
        self,
        segmenters: Segmenter | Sequence[Segmenter],
        sources: Source | Mapping[str, Source],
        sinks: Sequence[Sink] | Mapping[str, Sequence[Sink]],
        policy: Policy | None,
        max_frames: int | None,
        options: StreamOptions | None,
        listeners: Iterable[Listener],
    ) -> None:
        options = options or StreamOptions()
        self._segmenters = [segmenters] if isinstance(segmenters, Segmenter) else list(segmenters)
        cameras = cameras_of(sources, sinks, policy, max_frames)
        check_models(self._segmenters, cameras, options)
        policies = [camera.policy for camera in cameras]
        self.policy: Policy = policies[0]
        self.health = Health(listeners)
        self._context = StreamContext(options, self.health)
        self._intake: Intake[FrameSlot] = Intake(policies)
        self._caller: Intake[FrameSlot] = Intake(policies)
        self._pipelines = [
            CameraPipeline(
                camera,
                self._context,
                self._intake,
                self._caller,
                frames_under_way(self._segmenters),
                partial(check_frames, self._segmenters),
            )
            for camera in cameras
        ]
        self._context.at_end(self._caller.close)
        self._inference = make_inference(self._segmenters, self._pipelines, self._intake, self._context)
        self._supervision = Supervision(self._pipelines, self._inference, self._context, self._goes_on)
        self.life = Lifecycle()
        self._stopping = False
        self._stops: set[int] = set()  # threads that stop the cameras at the moment
        self._is_abandoned = False

    @property
    def frames_in(self) -> int:
        """Frames read so far."""
        return sum(pipeline.counts.frames_in for pipeline in self._pipelines)

    @property
    def frames_out(self) -> int:
        """Frames segmented and written so far."""
        return sum(pipeline.counts.frames_out for pipeline in self._pipelines)

    @property
    def frames_dropped(self) -> int:
        """Frames displaced by newer ones so far."""
        return sum(self._intake.dropped(pipeline.camera.number) for pipeline in self._pipelines)

    def start(self) -> None:
        """See :meth:`danet_runtime.Stream.start`."""
        if not self.life.begin_start():
            return
        if self._stopping:  # before the start: nothing is opened
            self._caller.close()
            self._close_sources()
            self.health.close()
            self.life.end_start()
            self.life.begin_close(may_wait=False)
            self.life.end_close()
            return
        try:
            self._open()
            self._start_threads()
        except BaseException as error:
            self.life.end_start(error)
            raise
        if self.life.end_start():
            self.close()
        self._stop_where_asked()

    def _open(self) -> None:
        opened: list[CameraPipeline] = []
        try:
            for pipeline in self._pipelines:
                pipeline.open(self._segmenters[0])
                opened.append(pipeline)
                for slot in pipeline.slots.slots:
                    for segmenter in self._segmenters:
                        segmenter.pin(slot.frame, slot.labels)
                    slot.is_pinned = True
        except BaseException:
            self._context.note_failure_is_known()
            for pipeline in opened:
                pipeline.close_sinks()
            self._close_sources()
            raise

    def _start_threads(self) -> None:
        try:
            self._supervision.start()  # first: the others count on its clock
            for pipeline in self._pipelines:
                pipeline.start()
            self._inference.start()
        except BaseException:  # no more threads to be had, or Ctrl-C: those that run must end
            self._stopping = True
            self._stop_pipelines()
            self._inference.abort()
            self._context.end()
            self._leave()
            self._join()
            raise

    def take(self) -> tuple[Delivery, FrameSlot]:
        """Wait for the caller's next result and return it.

        Raises:
            ClosedError: There is no more.
        """
        number, slot = self._caller.get()
        return self._pipelines[number].delivery, slot

    def _leave(self) -> None:
        """Release the results that wait, since the caller takes no more."""
        for number, slot in self._caller.abort():
            self._pipelines[number].delivery.release(slot)

    def latest(self, max_age_ms: float, camera: str | None) -> Result | None:
        """See :meth:`danet_runtime.Stream.latest`."""
        for pipeline in self._pipelines:
            if camera in (None, pipeline.camera.name):
                with self.life.calling():
                    return pipeline.delivery.latest(max_age_ms)
        names = ", ".join(pipeline.camera.name for pipeline in self._pipelines)
        raise UsageError(f"there is no camera {camera!r}, only {names}")

    def stop(self) -> None:
        """See :meth:`danet_runtime.Stream.stop`."""
        with self.life.calling():
            # Where everything was read already it ends by itself, and says so.
            self._stopping = self._stopping or not all(
                pipeline.capture.has_ended for pipeline in self._pipelines
            )
            if self.life.state not in ("new", "starting"):
                self._stop_pipelines()

    def _stop_where_asked(self) -> None:
        """Do what was asked for during the start."""
        if self._stopping:
            self._stop_pipelines()

    def _stop_pipelines(self) -> None:
        me = threading.get_ident()
        if me in self._stops:
            return  # a signal's handler came between: what it asks for is being done
        self._stops.add(me)
        try:
            for pipeline in self._pipelines:
                pipeline.stop()
        finally:
            self._stops.discard(me)

    def close(self) -> None:
        """See :meth:`danet_runtime.Stream.close`."""
        must_not_wait = self._is_own_thread() or self.life.is_inside or self._is_abandoned
        before = self.life.begin_close(may_wait=not must_not_wait)
        if before is not None:
            close = self._hand_over if must_not_wait else self._close
            close(before)

    def abandon(self) -> None:
        """Note that the stream was garbage-collected. Called by the collector, in any thread."""
        self._is_abandoned = True  # the watchdog sees it
        if not self.life.was_started:
            self.close()

    def _is_own_thread(self) -> bool:
        return self._supervision.is_own(threading.current_thread())

    def _hand_over(self, before: State) -> None:
        """Let another thread close: this one is waited for, or must not wait."""
        self.life.hand_over()
        try:
            threading.Thread(target=self._close, args=(before,), name="danet-close").start()
        except BaseException:  # no more threads to be had: nobody closes, but nothing more is read
            self._stop_pipelines()
            self._leave()
            self.life.end_close()
            raise

    def _close(self, before: State) -> None:
        try:
            if before == "new":
                self._close_sources()
                self._caller.close()
                return
            if any(pipeline.capture.worker.thread.is_alive() for pipeline in self._pipelines):
                self.stop()
            self._leave()
            self._join()
        finally:
            self.life.end_close()

    def finish(self) -> None:
        """Wait for the threads and close everything, after the caller has taken the last result."""
        if self.life.begin_close(may_wait=not self._is_own_thread()):
            try:
                self._join()
            finally:
                self.life.end_close()

    def report(self) -> StreamReport:
        """See :meth:`danet_runtime.Stream.report`."""
        with self.life.calling():
            return summarise(
                self._pipelines, self._segmenters[self._inference.level], self._context, self._ending()
            )

    def _goes_on(self) -> bool:
        """Asked by the watchdog, which closes a stream that nobody holds any more."""
        if self._is_abandoned:
            self.close()
        return not self._is_abandoned

    # The end.

    def raise_failure(self) -> None:
        """Raise the failure that ended the stream, unless the caller has learned of it already."""
        self._context.raise_failure()

    def _ending(self) -> Ending:
        if self._context.failure is not None:
            return "failed"
        if self._stopping:
            return "stopped"
        return (
            "frame limit" if any(pipeline.reached_limit for pipeline in self._pipelines) else "source ended"
        )

    def _join(self) -> None:
        was_starting = self.health.state == "starting"
        grace_s = self._context.options.grace_s
        stuck = []
        for pipeline in self._pipelines:
            if not wait_for([pipeline.capture.worker], grace_s, pipeline.capture.interrupt):
                stuck.append(pipeline)
                self._context.fail(
                    SourceError(
                        f"{pipeline.camera.name} did not return within {grace_s:.0f} s and was given up"
                    )
                )
        if wait_for(self._inference.workers, grace_s, self._give_up_sinks):
            for pipeline in self._pipelines:
                pipeline.unpin(self._segmenters)
        elif was_starting and self._stopping:
            logger.warning("the first inference was still under way when the end was asked for; it is left")
            self._inference.abort()
            self._context.end()
        else:
            self._supervision.give_up("inference did not return and was given up; restart the process")
        for pipeline in self._pipelines:
            pipeline.delivery.wait_for_sinks(grace_s)
        self._supervision.stop()
        self._close_sources(but=stuck)
        self._supervision.tell_end()
        self.health.close()

    def _give_up_sinks(self) -> None:
        """End the stream: inference no longer waits for sinks that do not return."""
        for pipeline in self._pipelines:
            pipeline.delivery.give_up_after(self._context.options.grace_s)

    def _close_sources(self, but: Sequence[CameraPipeline] = ()) -> None:
        """Close what is read from; one whose thread hangs in it is left alone, that would not be safe."""
        for pipeline in self._pipelines:
            if pipeline in but:
                continue
            try:
                pipeline.camera.source.close()
            except Exception as error:  # noqa: BLE001 - raised again in the caller
                self._context.fail(error)
