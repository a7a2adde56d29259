"""A frame that is under way in a segmenter, and the times that one took."""

from __future__ import annotations

from typing import NamedTuple

from danet_runtime.frames.fitting import NativeBuffers
from danet_runtime.inference.frame_rules import Array
from danet_runtime.timing import DeviceTimes, Stage


class InferenceTimes(NamedTuple):
    """Times of the stages of one frame, in nanoseconds."""

    preprocess_ns: int
    inference_ns: int
    postprocess_ns: int

    def by_stage(self) -> dict[Stage, int]:
        """By the names of :data:`danet_runtime.timing.STAGES`."""
        return {
            "preprocess": self.preprocess_ns,
            "inference": self.inference_ns,
            "postprocess": self.postprocess_ns,
        }


class Submission(NamedTuple):
    """A frame that is under way; see :meth:`danet_runtime.Segmenter.submit`."""

    ticket: int
    labels: Array
    native: NativeBuffers | None  # of the segmenter, where the frame is not the model's own
    submitted_ns: int
    preprocess_ns: int


class Collected(NamedTuple):
    """Times of one frame: those that the caller waited, and those on the device itself."""

    times: InferenceTimes
    device: DeviceTimes
