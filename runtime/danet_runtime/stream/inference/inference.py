"""The inference thread: one model for all cameras, in turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from danet_runtime.bundle.golden import check_golden
from danet_runtime.clock import now_ns
from danet_runtime.errors import AgreementError, BackendError, FaultError
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.processes.running import RUNNING
from danet_runtime.results.slot import FrameSlot
from danet_runtime.stream.pipeline.camera_pipeline import CameraPipeline
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.fallback import DeadlineFallback
from danet_runtime.stream.state.slots import ClosedError, Intake
from danet_runtime.stream.state.watch import Worker

logger = logging.getLogger(__name__)


class Inference:
    """Takes captured frames, one camera after the other, segments them and delivers.

    Args:
        segmenters: Segmenters from the best to the fastest; more than one require a deadline.
        pipelines: The cameras.
        intake: Queue of the frames that wait for inference.
        context: Shared state of the stream; told of the failure that ended inference, and of every end.

    Attributes:
        workers: Threads of the inference.
    """

    def __init__(
        self,
        segmenters: Sequence[Segmenter],
        pipelines: Sequence[CameraPipeline],
        intake: Intake[FrameSlot],
        context: StreamContext,
    ) -> None:
        self._segmenters = segmenters
        self._pipelines = pipelines
        self._intake = intake
        self._context = context
        self._options = context.options
        self._health = context.health
        self._row = 0
        options = context.options
        deadline = options.deadline_ms
        self._fallback = DeadlineFallback(len(segmenters), deadline, options.fallback) if deadline else None
        self.workers = [Worker("inference", self._run)]

    @property
    def level(self) -> int:
        """Index of the segmenter that runs; 0 is the best."""
        return self._fallback.level if self._fallback else 0

    def start(self) -> None:
        """Start the threads."""
        for worker in self.workers:
            worker.thread.start()

    def _run(self) -> None:
        try:
            self._check()
            while True:
                number, slot = self._intake.get()
                self._segment(self._pipelines[number], slot)
        except ClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._give_up(error)
        finally:
            self.abort()
            self._context.end()

    def abort(self) -> None:
        """Take no more frames, also of those that wait; from any thread."""
        for number, slot in self._intake.abort():
            self._pipelines[number].abandon(slot)

    def _check(self) -> None:
        if self._options.golden:
            for segmenter in self._segmenters:
                with self.workers[0]:
                    check = check_golden(segmenter.bundle, segmenter.precision, segmenter.labels_of)
                check.require(segmenter.backend.name)
        self._health.started()

    def _give_up(self, error: BaseException) -> None:
        wanted = error if isinstance(error, Exception) else _killed(error)
        if isinstance(wanted, (FaultError, AgreementError)):
            self._health.fault(str(wanted))
        self._context.fail(wanted)

    def _segment(self, pipeline: CameraPipeline, slot: FrameSlot) -> None:
        segmenter = self._segmenters[self.level]
        try:
            with self.workers[0]:
                self._pin(pipeline, slot)
                times = segmenter.infer_into(slot.model_input, slot.labels)
        except BackendError as error:
            self._note_failure(pipeline, slot, error)
            return
        slot.labelling = segmenter.labelling
        slot.stage_ns.update(times.by_stage())
        self._deliver(pipeline, slot)

    def _pin(self, pipeline: CameraPipeline, slot: FrameSlot) -> None:
        """Show the segmenters slots of a size that was adopted; let them go of those of the one before."""
        if slot.is_pinned and not pipeline.slots.retired:
            return
        for segmenter in self._segmenters:
            for old in pipeline.slots.retired:
                segmenter.unpin(old.frame, old.labels)
            if not slot.is_pinned:
                segmenter.pin(slot.frame, slot.labels)
        slot.is_pinned = True
        pipeline.slots.retired.clear()

    def _deliver(self, pipeline: CameraPipeline, slot: FrameSlot) -> None:
        if self._row:
            self._row = 0
            self._health.clear("inference.failing")
        late = None
        if self._options.deadline_ms is not None:
            age_ms = (now_ns() - slot.info.capture_time_ns) / 1e6
            late = age_ms > self._options.deadline_ms
            # A faster model would not have made those any younger that waited while the process stood still.
            if slot.info.capture_time_ns >= RUNNING.resumed_ns():
                self._step(age_ms)
        pipeline.delivery.deliver(slot, late)

    def _note_failure(self, pipeline: CameraPipeline, slot: FrameSlot, error: BackendError) -> None:
        """Count a failed frame; raises where it ends the stream."""
        if isinstance(error, FaultError):
            raise error  # the device may still write into the slot: it stays here
        if pipeline.camera.policy == "every":
            pipeline.abandon(slot)
            raise error
        pipeline.drop_failed(slot)
        self._row += 1
        if self._row >= self._options.inference_failures:
            raise FaultError(
                f"inference failed {self._row} times in a row, last: {error}; restart the process"
            ) from error
        self._health.set("inference.failing", "degraded", f"inference fails: {error}")

    def _step(self, age_ms: float) -> None:
        level = self._fallback.observe(age_ms) if self._fallback else None
        if level is None:
            return
        segmenter = self._segmenters[level]
        where = f"{segmenter.bundle.path} ({segmenter.precision}), level {level} of {len(self._segmenters)}"
        logger.info("deadline fallback: now %s", where)
        if level:
            self._health.set("fallback", "degraded", f"deadlines were missed: running {where}")
        else:
            self._health.clear("fallback")


def _killed(error: BaseException) -> FaultError:
    return FaultError(f"the inference thread was ended by {type(error).__name__}; restart the process")
