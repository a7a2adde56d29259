"""Inference where the backend overlaps: the next frame is taken while one is under way.

Two threads. One takes captured frames and submits them, as many as the backend has room for; the other waits
for their labels, in the same order, and delivers. Room is waited for before a frame is taken, so that cameras
still have their turn. Under ``latest`` the frame is taken only when the model is about to be free, so that it
is the newest then (:mod:`danet_runtime.stream.inference.pace`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from danet_runtime.errors import BackendError, FaultError
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.inference.submission import Submission
from danet_runtime.results.slot import FrameSlot
from danet_runtime.stream.inference.inference import Inference
from danet_runtime.stream.inference.pace import Pace
from danet_runtime.stream.pipeline.camera_pipeline import CameraPipeline
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.slots import ClosedError, Handover, Intake
from danet_runtime.stream.state.watch import Worker


class _Flight(NamedTuple):
    pipeline: CameraPipeline
    slot: FrameSlot
    segmenter: Segmenter
    submission: Submission | None  # none: it was not taken
    error: BackendError | None


class OverlappedInference(Inference):
    """Like :class:`danet_runtime.stream.inference.inference.Inference`, but with several frames in flight.

    At the end, frames that are under way are collected and delivered; where the process cannot go on they
    stay unfinished. Every failure of a frame is counted in its turn, also one at its submission.

    Args:
        depth: Number of frames in flight; that of the segmenter with room for the fewest.
    """

    def __init__(
        self,
        segmenters: Sequence[Segmenter],
        pipelines: Sequence[CameraPipeline],
        intake: Intake[FrameSlot],
        context: StreamContext,
        depth: int,
    ) -> None:
        super().__init__(segmenters, pipelines, intake, context)
        self._room: Handover[None] = Handover(depth)
        for _ in range(depth):
            self._room.put(None)
        self._flying: Handover[_Flight] = Handover(depth)
        self._pace = Pace() if any(pipeline.camera.policy == "latest" for pipeline in pipelines) else None
        self.workers.append(Worker("results", self._collect_all))

    # The thread that submits.

    def _run(self) -> None:
        try:
            self._check()
            while True:
                self._room.get()
                if self._pace is not None:
                    time.sleep(self._pace.pause_s())
                number, slot = self._intake.get()
                flight = self._submit(self._pipelines[number], slot)
                try:
                    self._flying.put(flight)
                except ClosedError:
                    with self.workers[0]:
                        self._discard(flight)
                    raise
        except ClosedError:
            self._flying.close()  # what is under way is still wanted
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._give_up(error)
            self._flying.close()
        finally:
            self.abort()

    def _submit(self, pipeline: CameraPipeline, slot: FrameSlot) -> _Flight:
        segmenter = self._segmenters[self.level]
        try:
            with self.workers[0]:
                self._pin(pipeline, slot)
                submission = segmenter.submit(slot.model_input, slot.labels)
        except BackendError as error:
            return _Flight(pipeline, slot, segmenter, None, error)
        if self._pace is not None:
            self._pace.submitted()
        return _Flight(pipeline, slot, segmenter, submission, None)

    # The thread that collects and delivers.

    def _collect_all(self) -> None:
        try:
            while True:
                self._collect(self._flying.get())
        except ClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._give_up(error)
        finally:
            self.abort()
            self._room.abort()
            for flight in self._flying.abort():
                with self.workers[1]:
                    self._discard(flight)
            self._context.end()

    def _collect(self, flight: _Flight) -> None:
        pipeline, slot = flight.pipeline, flight.slot
        error = flight.error
        if flight.submission is not None:
            device = None
            try:
                with self.workers[1]:
                    times, device = flight.segmenter.collect(flight.submission)
                slot.labelling = flight.segmenter.labelling
                slot.stage_ns.update(times.by_stage())
            except BackendError as raised:
                error = raised
            if self._pace is not None:
                self._pace.collected(device)
        self._room.put(None)  # never waits: every place that is put back was taken
        if error is not None:
            self._note_failure(pipeline, slot, error)
        else:
            self._deliver(pipeline, slot)

    def _discard(self, flight: _Flight) -> None:
        """Take a frame out of the backend that nobody waits for any more: the segmenter is the caller's."""
        try:
            if flight.submission is not None:
                flight.segmenter.collect(flight.submission)
        except FaultError:
            return  # the device may still write into the slot: it stays here
        except BackendError:
            pass
        flight.pipeline.abandon(flight.slot)


def frames_under_way(segmenters: Sequence[Segmenter]) -> int:
    """Return how many frames a stream may have in flight; 1 where any of the segmenters cannot overlap."""
    return min(segmenter.depth for segmenter in segmenters)


def make_inference(
    segmenters: Sequence[Segmenter],
    pipelines: Sequence[CameraPipeline],
    intake: Intake[FrameSlot],
    context: StreamContext,
) -> Inference:
    """Return the inference that fits the segmenters; the arguments are those of :class:`Inference`."""
    depth = frames_under_way(segmenters)
    if depth == 1:
        return Inference(segmenters, pipelines, intake, context)
    return OverlappedInference(segmenters, pipelines, intake, context, depth)
