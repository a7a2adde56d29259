"""Accuracy of a bundle's variants, through the very files that are shipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from danet_calibration.errors import CalibrationError
from danet_calibration.images import UInt8Array
from danet_runtime.bundle import Accuracy, Bundle, Precision
from danet_runtime.segmenter import Segmenter
from danet_train.data.sample import Dataset
from danet_train.metrics import ConfusionMatrix

Progress = Callable[[int, int], None]


def measure_accuracy(
    bundle: Bundle, precision: Precision, dataset: Dataset, name: str, progress: Progress | None = None
) -> Accuracy:
    """Segment every labelled image and score the labels at the image's own size.

    Args:
        bundle: Holds the variant.
        precision: Which one.
        dataset: Labelled images with the bundle's classes.
        name: What to call the data set in the manifest.
        progress: Is told after each image how many of how many are done.

    Raises:
        CalibrationError: The data set has other classes than the bundle, or is empty.
    """
    expected = tuple(entry.name for entry in bundle.manifest.classes)
    if dataset.classes.names != expected:
        raise CalibrationError(
            f"expected the bundle's {len(expected)} classes ({', '.join(expected[:4])}...), but {name} has "
            f"{len(dataset.classes)} ({', '.join(dataset.classes.names[:4])}...); give a data set of the same"
        )
    matrix = ConfusionMatrix(len(expected))
    with Segmenter(bundle, precision) as segmenter:
        for index, sample in enumerate(dataset):
            matrix.update(segmenter(sample.image), sample.label)
            if progress:
                progress(index + 1, len(dataset))
        backend = segmenter.backend.name
    if not matrix.counts.sum():
        raise CalibrationError(f"{name} holds no labelled pixel; give images with labels")
    iou = [None if math.isnan(value) else float(value) for value in matrix.iou()]
    return Accuracy(
        dataset=name,
        frames=len(dataset),
        backend=backend,
        miou=matrix.miou,
        pixel_accuracy=matrix.pixel_accuracy,
        iou=dict(zip(expected, iou, strict=True)),
    )


def measure_agreement(
    bundle: Bundle, precision: Precision, reference: Precision, frames: Sequence[UInt8Array]
) -> float:
    """Share of pixels to which two variants of a bundle give the same label.

    Args:
        bundle: Holds both variants.
        precision: One of them.
        reference: The other.
        frames: (H, W, 3) BGR each.
    """
    with Segmenter(bundle, precision) as one, Segmenter(bundle, reference) as other:
        return float(np.mean([(one(frame) == other(frame)).mean() for frame in frames]))
