"""Measuring one frame again and again: what the segmenter costs without a source or sinks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from danet_runtime.bundle.golden import golden_frame
from danet_runtime.bundle.reader import Bundle
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.machine import describe_machine
from danet_runtime.pictures.reading import decode_picture
from danet_runtime.timing import LatencyRecorder, LatencySummary, Stage

PROFILE_KIND = "danet-profile"
PROFILE_VERSION = 1
_STAGES: tuple[Stage, ...] = ("preprocess", "inference", "postprocess")


@dataclass(frozen=True)
class Measurement:
    """Latencies of one frame.

    Attributes:
        latency: Latency of the rounds after the warm-up.
        frame_size_hw: Height and width of the frame.
        agreement: Share of labels equal to the golden labels, or ``None`` for a frame of the user's own.
    """

    latency: LatencySummary
    frame_size_hw: tuple[int, int]
    agreement: float | None

    def to_dict(self, segmenter: Segmenter, origin: str) -> dict[str, Any]:
        """Plain data for JSON, with the bundle, the backend and the machine."""
        return {
            "kind": PROFILE_KIND,
            "schema_version": PROFILE_VERSION,
            "frame": origin,
            "frame_size_hw": list(self.frame_size_hw),
            "latency": self.latency.to_dict(),
            "agreement": self.agreement,
            "bundle": segmenter.bundle.describe(segmenter.precision),
            "backend": segmenter.backend.describe(),
            "machine": describe_machine(),
        }


def profile_frame(bundle: Bundle, image: Path | None) -> tuple[UInt8Array, UInt8Array | None, str]:
    """Return the frame to measure with, its labels, and its name.

    The frame is the user's picture, without labels, or else the bundle's golden frame with its labels.

    Raises:
        SourceError: The picture cannot be read.
        BundleError: The golden frame cannot be used.
    """
    if image is not None:
        return decode_picture(image), None, str(image)
    frame, labels = golden_frame(bundle)
    return frame, labels, "golden frame"


def measure(
    segmenter: Segmenter,
    frame: UInt8Array,
    golden_labels: UInt8Array | None = None,
    *,
    frames: int,
    warmup: int,
    on_round: Callable[[], None] | None = None,
) -> Measurement:
    """Segment ``frame`` again and again into the same buffer.

    Args:
        segmenter: Segmenter to measure.
        frame: uint8 of the segmenter's own layout, or (H, W, 3) BGR of any size; C-contiguous, only read.
        golden_labels: (H, W) to compare with, where they are known.
        frames: Rounds that count.
        warmup: Rounds before, which do not.
        on_round: Called after each round, outside of what is timed.

    Raises:
        BackendError: The model failed.
    """
    recorder = LatencyRecorder(_STAGES, capacity=frames)
    size_hw = segmenter.size_of(frame)
    labels = np.empty(size_hw, np.uint8)
    for number in range(warmup + frames):
        started = time.monotonic_ns()
        times = segmenter.infer_into(frame, labels)
        total_ns = time.monotonic_ns() - started
        if number >= warmup:
            recorder.add(times.by_stage(), total_ns)
        if on_round is not None:
            on_round()
    agreement = None if golden_labels is None else float(np.mean(labels == golden_labels))
    return Measurement(recorder.summary(), size_hw, agreement)
