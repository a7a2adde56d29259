"""Class shares of a calibration set: from its labels where it has them, else from the model's predictions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.images import CalibrationSet
from danet_calibration.images.near_duplicates import Progress
from danet_calibration.images.set_labels import NoLabelsError, find_labels
from danet_runtime.bundle import Bundle
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.inference.segmenter import Segmenter
from danet_train.data.samples.sample import Dataset, read_label

PREDICTED_FRAMES = 32
"""Largest number of frames that are segmented where there are no labels."""

Source = Literal["labels", "prediction"]


@dataclass(frozen=True)
class ClassCoverage:
    """Share of a set's pixels that each class has.

    Attributes:
        source: ``labels``, or ``prediction`` of the bundle's FP32 model.
        reason: Why the model was used; empty where there were labels.
        frames: Number of frames that were counted.
        shares: Share of each class in the pixels that have a class, in the bundle's order; they add up to 1.
        never_seen: The classes without a pixel.
    """

    source: Source
    reason: str
    frames: int
    shares: dict[str, float]
    never_seen: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the values for JSON, under the names of the attributes."""
        return {
            "source": self.source,
            "reason": self.reason,
            "frames": self.frames,
            "shares": dict(self.shares),
            "never_seen": list(self.never_seen),
        }


def class_coverage(
    model: Bundle | Segmenter,
    images: CalibrationSet,
    *,
    classes: Path | str | None = None,
    progress: Progress | None = None,
) -> ClassCoverage:
    """Count the classes of a set.

    Args:
        model: Names the classes. Where the set is not from a labelled data set with these classes, it also
            segments the first ``PREDICTED_FRAMES`` frames, which are spread over the set's groups and
            brightness: a bundle by its FP32 variant, an open segmenter by whichever it has.
        images: The set.
        classes: Class table for a folder without one, see
            :func:`danet_train.data.datasets.layouts.open_dataset`.
        progress: Called after each frame with the number done and the number of all.

    Raises:
        CalibrationSetError: No pixel has a class, or a file is no longer the one that was chosen.
        DataError: A label image cannot be read.
        ConfigError: The class table cannot be read.
        BundleError: A bundle's model cannot be read.
    """
    names = tuple(entry.name for entry in (model.manifest if isinstance(model, Bundle) else model).classes)
    try:
        labels, dataset = find_labels(images, names, classes)
    except NoLabelsError as error:
        source: Source = "prediction"
        reason, frames = str(error), min(PREDICTED_FRAMES, len(images.files))
        counts = _count_predicted(model, images, len(names), frames, progress)
    else:
        source, reason, frames = "labels", "", len(labels)
        counts = _count_labelled(labels, dataset, progress)
    total = int(counts.sum())
    if not total:
        raise CalibrationSetError(
            f"no pixel of {frames} frames of {images.folder} has a class (by {source}); give other frames"
        )
    shares = {name: int(count) / total for name, count in zip(names, counts, strict=True)}
    return ClassCoverage(
        source, reason, frames, shares, tuple(name for name, share in shares.items() if not share)
    )


def _count_labelled(
    labels: Sequence[Path], dataset: Dataset, progress: Progress | None
) -> npt.NDArray[np.int64]:
    counts = np.zeros(len(dataset.classes), np.int64)
    for index, label in enumerate(labels):
        counts += _count(dataset.classes.decode(read_label(label), str(label)), len(counts))
        if progress:
            progress(index + 1, len(labels))
    return counts


def _count_predicted(
    model: Bundle | Segmenter, images: CalibrationSet, classes: int, frames: int, progress: Progress | None
) -> npt.NDArray[np.int64]:
    if isinstance(model, Bundle):
        with Segmenter(model, "fp32") as segmenter:
            return _count_predicted(segmenter, images, classes, frames, progress)
    counts = np.zeros(classes, np.int64)
    # The order of a set spreads its first frames over groups and brightness.
    for index, frame in enumerate(itertools.islice(images.frames(model.frame_size_hw), frames)):
        counts += _count(model.labels_of(frame), classes)
        if progress:
            progress(index + 1, frames)
    return counts


def _count(labels: UInt8Array, classes: int) -> npt.NDArray[np.int64]:
    return np.bincount(labels.ravel(), minlength=256)[:classes].astype(np.int64)
