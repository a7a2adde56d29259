"""The scores of semantic segmentation, from one matrix of counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from danet_train.classes import IGNORE
from danet_train.errors import DataError


class ConfusionMatrix:
    """Counts of pixels by true and predicted class; images add up, as in Cityscapes' own evaluation.

    Attributes:
        counts: (C, C) int64, rows the label, columns the prediction.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)

    def update(self, prediction: npt.NDArray[np.integer], label: npt.NDArray[np.integer]) -> None:
        """Count the pixels of one image or of a batch.

        Args:
            prediction: Class indices 0..C-1, of any shape; what stands where the label is 255 is ignored.
            label: Train ids 0..C-1 or 255, of the same shape.

        Raises:
            DataError: The shapes differ, or a value is outside the classes.
        """
        if prediction.shape != label.shape:
            raise DataError(f"prediction {prediction.shape} and label {label.shape} must have the same shape")
        classes = len(self.counts)
        scored = label != IGNORE
        true = label[scored].astype(np.int64)
        guess = prediction[scored].astype(np.int64)
        for name, values in (("label", true), ("prediction", guess)):
            if values.size and not (values.min() >= 0 and values.max() < classes):
                raise DataError(
                    f"{name} must hold 0..{classes - 1} where scored, not {values.min()}..{values.max()}"
                )
        flat = np.bincount(true * classes + guess, minlength=classes * classes)
        self.counts += flat.reshape(classes, classes)

    def iou(self) -> npt.NDArray[np.float64]:
        """(C,) intersection over union a class, 0..1; NaN where no label holds it and nothing predicted it.

        A class that was predicted but that no label holds scores 0, as in Cityscapes' own evaluation.
        """
        true_positive = np.diag(self.counts).astype(np.float64)
        union: npt.NDArray[np.float64] = self.counts.sum(axis=1) + self.counts.sum(axis=0) - true_positive
        scores = np.full(len(union), np.nan)
        np.divide(true_positive, union, out=scores, where=union > 0)
        return scores

    @property
    def miou(self) -> float:
        """The mean over the classes that :meth:`iou` scores, 0..1; NaN when nothing was counted."""
        scores = self.iou()
        present = scores[~np.isnan(scores)]
        return float(present.mean()) if present.size else float("nan")

    def accuracy(self) -> npt.NDArray[np.float64]:
        """(C,) part of the pixels of each class that are right, 0..1; NaN where no label holds the class."""
        labelled = self.counts.sum(axis=1).astype(np.float64)
        parts = np.full(len(labelled), np.nan)
        np.divide(np.diag(self.counts), labelled, out=parts, where=labelled > 0)
        return parts

    @property
    def mean_accuracy(self) -> float:
        """The mean over the classes that a label holds, 0..1; NaN when nothing was counted."""
        parts = self.accuracy()
        present = parts[~np.isnan(parts)]
        return float(present.mean()) if present.size else float("nan")

    @property
    def frequency_weighted_iou(self) -> float:
        """The mean of :meth:`iou`, each class by its share of labelled pixels; NaN when nothing was counted.

        Long et al. 2015, section 5.
        """
        labelled, total = self.counts.sum(axis=1), int(self.counts.sum())
        present = labelled > 0
        weighted = float((labelled[present] * self.iou()[present]).sum())
        return weighted / total if total else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """The part of scored pixels that are right, 0..1; NaN when nothing was counted."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts) / total) if total else float("nan")
