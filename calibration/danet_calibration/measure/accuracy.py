"""Accuracy of a bundle's variants, through the very files that are shipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danet_calibration.errors import CalibrationError
from danet_calibration.measure.drop_intervals import Counts
from danet_runtime.bundle import Accuracy, Bundle, Precision
from danet_runtime.bundle.golden import GoldenCheck, check_golden
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.inference.segmenter import Segmenter
from danet_train.classes import describe_difference
from danet_train.data.samples.sample import Dataset
from danet_train.evaluation.metrics import ConfusionMatrix

Progress = Callable[[int, int], None]

Step = Callable[[str, int, int], None]
"""Called with the name of a step, the parts done and the number of parts (0 and 0: unknown)."""


@dataclass(frozen=True)
class LabelledSet:
    """Labelled images, and their name for the manifest."""

    name: str
    dataset: Dataset


@dataclass(frozen=True)
class Agreement:
    """Agreement of a variant with FP32's labels.

    Attributes:
        share: Share of the pixels with the same label, 0..1.
        frames: Number of compared frames.
        origin: Name of the frames, for reports.
    """

    share: float
    frames: int
    origin: str

    def to_json(self) -> dict[str, Any]:
        """Return the values for the JSON of the report and the verdict."""
        return {
            "label_agreement_int8_fp32": self.share,
            "label_agreement_frames": self.frames,
            "label_agreement_of": self.origin,
        }


def require_classes(bundle: Bundle, dataset: Dataset, name: str) -> None:
    """Refuse labelled images of other classes than the bundle's; white space around names is ignored.

    Args:
        bundle: Bundle with the expected classes.
        dataset: The labelled images.
        name: Name of the data set, for the error.

    Raises:
        CalibrationError: The classes differ.
    """
    expected = tuple(entry.name for entry in bundle.manifest.classes)
    difference = describe_difference(expected, dataset.classes.names, "the bundle", name)
    if difference is not None:
        raise CalibrationError(
            f"expected the bundle's {len(expected)} classes: {difference}; give a data set of the same, or "
            "its class table with --classes"
        )


def named_as_in(bundle: Bundle, labelled: LabelledSet) -> LabelledSet:
    """Return the labelled images with the class names as the bundle spells them.

    Args:
        bundle: Bundle with these classes (:func:`require_classes`).
        labelled: The labelled images.
    """
    dataset = labelled.dataset
    names = tuple(entry.name for entry in bundle.manifest.classes)
    classes = dataset.classes.model_copy(update={"names": names})
    return LabelledSet(labelled.name, Dataset(dataset.pairs, classes, dataset.skipped))


@dataclass(frozen=True, eq=False)
class Measurement:
    """The accuracy of a variant, and the counts that it is made of.

    Attributes:
        accuracy: Accuracy as in the manifest; its mIoU is that of
            :class:`danet_train.evaluation.metrics.ConfusionMatrix`.
        counts: A confusion matrix for each frame.
    """

    accuracy: Accuracy
    counts: Counts


def measure_accuracy(
    bundle: Bundle, precision: Precision, dataset: Dataset, name: str, progress: Progress | None = None
) -> Measurement:
    """Segment every labelled image and score the labels at the image's own size.

    Args:
        bundle: Holds the variant.
        precision: Precision of the variant.
        dataset: Labelled images with the bundle's classes.
        name: Name of the data set, for the manifest.
        progress: Called after each image with the number done and the number of all.

    Raises:
        CalibrationError: The data set has other classes than the bundle, or is empty.
    """
    require_classes(bundle, dataset, name)
    expected = dataset.classes.names
    matrix = ConfusionMatrix(len(expected))
    counts: Counts = np.zeros((len(dataset), *matrix.counts.shape), np.int64)
    with Segmenter(bundle, precision) as segmenter:
        for index, sample in enumerate(dataset):
            before = matrix.counts.copy()
            matrix.update(segmenter.labels_of(sample.image), sample.label)
            counts[index] = matrix.counts - before
            if progress:
                progress(index + 1, len(dataset))
        backend = segmenter.backend.name
    if not matrix.counts.sum():
        raise CalibrationError(f"{name} holds no labelled pixel; give images with labels")
    iou = [None if math.isnan(value) else float(value) for value in matrix.iou()]
    labelled = counts.sum(axis=2)  # (frames, classes)
    accuracy = Accuracy(
        dataset=name,
        frames=len(dataset),
        backend=backend,
        miou=matrix.miou,
        pixel_accuracy=matrix.pixel_accuracy,
        iou=dict(zip(expected, iou, strict=True)),
        labelled_pixels=dict(zip(expected, labelled.sum(axis=0).tolist(), strict=True)),
        labelled_frames=dict(zip(expected, (labelled > 0).sum(axis=0).tolist(), strict=True)),
    )
    return Measurement(accuracy, counts)


def measure_agreement(
    bundle: Bundle, precision: Precision, reference: Precision, frames: Sequence[UInt8Array]
) -> float:
    """Return the share of pixels to which two variants of a bundle give the same label.

    Args:
        bundle: Holds both variants.
        precision: Precision of one variant.
        reference: Precision of the other.
        frames: (H, W, 3) BGR each.
    """
    with Segmenter(bundle, precision) as one, Segmenter(bundle, reference) as other:
        return float(np.mean([(one.labels_of(frame) == other.labels_of(frame)).mean() for frame in frames]))


def measure_golden(bundle: Bundle, precision: Precision) -> GoldenCheck:
    """Check a variant against the golden frame, as every runtime will.

    Args:
        bundle: Holds the variant and the golden frame.
        precision: Precision of the variant.

    Raises:
        BundleError: The golden frame cannot be used.
    """
    with Segmenter(bundle, precision) as segmenter:
        return check_golden(bundle, precision, segmenter.labels_of)
