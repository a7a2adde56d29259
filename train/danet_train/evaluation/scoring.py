"""The scores of a network on a dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from danet_train.classes import ClassTable, describe_difference
from danet_train.config.sections import EvaluationConfig, Normalisation
from danet_train.data.samples.faults import FaultPolicy, Skipped, none_readable, read_sample
from danet_train.data.samples.sample import Dataset, Image
from danet_train.errors import DataError
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.evaluation.prediction import predict
from danet_train.model.danet import DANet

WHOLE_IMAGE = EvaluationConfig()


@dataclass(frozen=True)
class Scored:
    """The result of scoring a dataset.

    Attributes:
        matrix: The counts over the samples that could be read.
        samples: Number of samples that were scored.
        skipped: The samples that could not be read, with the reasons.
    """

    matrix: ConfusionMatrix
    samples: int
    skipped: tuple[Skipped, ...]


def score(
    model: DANet,
    dataset: Dataset,
    normalisation: Normalisation,
    settings: EvaluationConfig = WHOLE_IMAGE,
    *,
    faults: FaultPolicy = "stop",
    keep: Callable[[str, Image], None] = lambda name, prediction: None,
    advance: Callable[[], None] = lambda: None,
) -> Scored:
    """Predict every sample and count, as :func:`tally` does; it is an error when nothing can be scored.

    Args:
        model: On any device.
        dataset: The split to score on.
        normalisation: The normalisation that the model was trained with.
        settings: The protocol, windows and test-time augmentation.
        faults: Whether a sample that cannot be read stops the scoring or is skipped.
        keep: Called with the name and the (H, W) uint8 train ids of each sample that is scored.
        advance: Called after each sample, scored or not.

    Raises:
        DataError: A sample cannot be read and ``faults`` is ``stop``, or none can, or no pixel is labelled.
    """
    scored = tally(model, dataset, normalisation, settings, faults=faults, keep=keep, advance=advance)
    if scored.skipped and not scored.samples:
        raise none_readable(len(scored.skipped), scored.skipped[0])
    require_scored(scored.matrix, scored.samples)
    return scored


def require_scored(matrix: ConfusionMatrix, samples: int) -> None:
    """Refuse a mean over nothing, which would be no number.

    Raises:
        DataError: No labelled pixel was counted.
    """
    if not matrix.counts.any():
        raise DataError(
            f"the labels of the {samples} samples that could be read are ignored everywhere; expected "
            "labelled pixels to score on"
        )


def tally(
    model: DANet,
    dataset: Dataset,
    normalisation: Normalisation,
    settings: EvaluationConfig,
    *,
    faults: FaultPolicy,
    keep: Callable[[str, Image], None] = lambda name, prediction: None,
    advance: Callable[[], None] = lambda: None,
) -> Scored:
    """Predict every sample and count, even where none can be read. Leaves the model in eval mode.

    Args:
        model: As for :func:`score`.
        dataset: A split or a part of one; other processes may count the rest.
        normalisation: The normalisation that the model was trained with.
        settings: The protocol, windows and test-time augmentation.
        faults: Whether a sample that cannot be read stops the scoring or is skipped.
        keep: Called for each sample that is scored.
        advance: Called after each sample.

    Raises:
        DataError: A sample cannot be read and ``faults`` is ``stop``.
    """
    model.eval()
    matrix = ConfusionMatrix(model.config.num_classes)
    skipped = list(dataset.skipped)
    for index in range(len(dataset)):
        sample = read_sample(dataset, index, faults)
        if isinstance(sample, Skipped):
            skipped.append(sample)
        else:
            prediction = predict(model, sample.image, normalisation, settings)
            matrix.update(prediction, sample.label)
            keep(sample.name, prediction)
        advance()
    total = len(dataset) + len(dataset.skipped)
    return Scored(matrix, total - len(skipped), tuple(skipped))


def check_classes_agree(trained: ClassTable | None, num_classes: int, asked: ClassTable) -> None:
    """Refuse to score a network on classes that it was not trained for.

    Raises:
        DataError: The number of classes differs, or, where the checkpoint names them, the names.
    """
    if len(asked) != num_classes:
        raise DataError(
            f"the checkpoint has {num_classes} classes, the dataset {len(asked)}; give the dataset that it "
            "was trained for, or its class table with --classes"
        )
    if trained is None:
        return
    difference = describe_difference(trained.names, asked.names, "the checkpoint", "the dataset")
    if difference is not None:
        raise DataError(f"{difference}; give the class table that it was trained with")


def check_splits_agree(train: ClassTable, val: ClassTable) -> None:
    """Refuse to score on a split whose classes are not those that are learnt.

    The values that label images hold for them may differ, and white space around names.

    Raises:
        DataError: The number or the names of the classes differ.
    """
    advice = "give both splits the same classes.yaml, or one class table with --classes"
    difference = describe_difference(train.names, val.names, "the training split", "the validation split")
    if difference is not None:
        raise DataError(f"{difference}; {advice}")


def scores_of(matrix: ConfusionMatrix, classes: ClassTable) -> dict[str, Any]:
    """Return the scores as plain values for JSON, each 0..1 or None; those of classes by their names."""

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else value

    def by_name(values: Sequence[float]) -> dict[str, float | None]:
        return {name: plain(float(value)) for name, value in zip(classes.names, values, strict=True)}

    return {
        "miou": plain(matrix.miou),
        "mean_accuracy": plain(matrix.mean_accuracy),
        "pixel_accuracy": plain(matrix.pixel_accuracy),
        "frequency_weighted_iou": plain(matrix.frequency_weighted_iou),
        "iou": by_name(list(matrix.iou())),
        "accuracy": by_name(list(matrix.accuracy())),
    }
