"""The JSON record of an evaluation: the scores, and everything that they depend on."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from danet_train.checkpoint import Checkpoint
from danet_train.config.sections import EvaluationConfig
from danet_train.data.samples.sample import Dataset
from danet_train.evaluation.scoring import Scored, scores_of

_PACKAGES = ("danet-train", "torch", "numpy", "opencv-python-headless")


class Scoring(NamedTuple):
    """The checkpoint that was scored, and the root and the split of the dataset."""

    checkpoint: Path
    data: Path
    split: str


def evaluation_record(
    scoring: Scoring,
    loaded: Checkpoint,
    dataset: Dataset,
    settings: EvaluationConfig,
    scored: Scored,
    device: str,
) -> dict[str, Any]:
    """Return the record as plain values for JSON.

    Args:
        scoring: The checkpoint and the split.
        loaded: The content of the checkpoint.
        dataset: The split.
        settings: The protocol, windows and test-time augmentation.
        scored: The result.
        device: Name of the device that it ran on.
    """
    return {
        **scores_of(scored.matrix, dataset.classes),
        "checkpoint": str(scoring.checkpoint),
        "checkpoint_sha256": loaded.sha256,
        "taken_for": loaded.family,
        "data": str(scoring.data),
        "split": scoring.split,
        "samples": scored.samples,
        "skipped": [skipped._asdict() for skipped in scored.skipped],
        "left_out": [left_out._asdict() for left_out in dataset.left_out],
        "pixels": int(scored.matrix.counts.sum()),
        "evaluation": {**settings.model_dump(mode="json"), "stride_hw": list(settings.stride)},
        "device": device,
        "versions": {package: version(package) for package in _PACKAGES},
    }
