"""Scores of an INT8 file: mIoU where there are labels, agreement with FP32 where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import cv2
import numpy as np
import onnx

from danet_calibration.int8.sensitivity import sensitivity_samples
from danet_calibration.measure.network import Network
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_train.data.samples.sample import Dataset
from danet_train.evaluation.metrics import ConfusionMatrix

JUDGED_SAMPLES: Final = 32
"""Largest number of labelled frames that methods are compared on; the gate itself takes all."""


class Judge(Protocol):
    """Scores files; higher is better.

    Attributes:
        measure: Name of the score, for reports.
    """

    measure: str

    def __call__(self, model: bytes) -> float:
        """Return the score of an INT8 file."""


class AgreementJudge:
    """Scores a file by the share of pixels to which it gives FP32's label.

    Args:
        reference: The bundle's FP32 file.
        frames: (H, W, 3) BGR each, best not calibrated on.
        origin: Name of the frames, for reports.
        pixels: Pixel format of the model's input.
    """

    def __init__(
        self, reference: bytes, frames: Sequence[UInt8Array], origin: str, pixels: Pixels = BGR
    ) -> None:
        self._pixels = pixels
        self.measure = f"agreement with FP32 on {len(frames)} of {origin}"
        self._frames = frames
        network = Network(onnx.load_from_string(reference), pixels)
        self._expected = [network(frame)[0] for frame in frames]

    def __call__(self, model: bytes) -> float:
        """Return the share, 0..1."""
        network = Network(onnx.load_from_string(model), self._pixels)
        pairs = zip(self._frames, self._expected, strict=True)
        return float(np.mean([(network(frame)[0] == labels).mean() for frame, labels in pairs]))


class AccuracyJudge:
    """Scores a file by its mIoU on labelled frames, over the classes that the labels hold.

    A class without labels would score 0 as soon as one pixel is taken for it, for one method and not another.

    Args:
        dataset: Labelled images of the bundle's classes, best those that neither the scales nor the gate see.
        name: Name of the data set, for reports.
        pixels: Pixel format of the model's input.
        count: Largest number of frames that are used.
    """

    def __init__(
        self, dataset: Dataset, name: str, pixels: Pixels = BGR, count: int = JUDGED_SAMPLES
    ) -> None:
        self._pixels = pixels
        self._samples = sensitivity_samples(dataset, count)
        self.measure = f"mIoU on {len(self._samples)} of {name}"

    def __call__(self, model: bytes) -> float:
        """Return the mIoU, 0..1."""
        network = Network(onnx.load_from_string(model), self._pixels)
        matrix = ConfusionMatrix(len(self._samples.classes.names))
        for sample in self._samples:
            labels = network(sample.image)[0]
            if labels.shape != sample.label.shape:
                size = sample.label.shape[::-1]
                labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
            matrix.update(labels, sample.label)
        held = matrix.counts.sum(axis=1) > 0
        return float(np.mean(matrix.iou()[held]))
