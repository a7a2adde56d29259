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
    """What was scored on what: the file, and the root and the split of the dataset."""

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
    """Plain values for JSON.

    Args:
        scoring: What was scored on what.
        loaded: What the checkpoint holds.
        dataset: The split.
        settings: How the network looked at an image.
        scored: What came of it.
        device: That it ran on.
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
