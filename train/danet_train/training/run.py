"""A training run from data on disk to a checkpoint and its record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danet_train.checkpoint import save_checkpoint
from danet_train.data.sample import Dataset
from danet_train.errors import UsageError
from danet_train.evaluation.scoring import evaluate, scores_of
from danet_train.files import check_file_target, replacing
from danet_train.metrics import ConfusionMatrix
from danet_train.training.config import TrainConfig
from danet_train.training.loop import Progress, train_model

_CURVE_POINTS = 100


def record_path(checkpoint: Path) -> Path:
    """Where the JSON record of a checkpoint lies: beside it, ``checkpoint.pt`` -> ``checkpoint.json``."""
    return checkpoint.with_suffix(".json")


def check_output(out: Path, *, overwrite: bool = False) -> None:
    """Find out before training that a checkpoint cannot be written to ``out``, or would replace a file.

    Raises:
        UsageError: ``out`` is the path of a record or of a folder, cannot be written, or, where ``overwrite``
            is false, it or its record exists.
    """
    if out.suffix == ".json":
        raise UsageError(
            f"{out} would be the record of the checkpoint; name the checkpoint e.g. checkpoint.pt"
        )
    for path in (out, record_path(out)):
        check_file_target(path)
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists already; give another path, or --overwrite to replace it")


def train_to_file(
    config: TrainConfig,
    train: Dataset,
    val: Dataset,
    out: Path,
    *,
    overwrite: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_sample: Callable[[], None] = lambda: None,
) -> tuple[ConfusionMatrix, float]:
    """Train, evaluate, and write ``out`` and its JSON record; both appear only when all went well.

    Args:
        config: Of the run.
        train: The split to learn from.
        val: The split to score on.
        out: The checkpoint to write, with any suffix but ``.json``.
        overwrite: Whether a checkpoint and a record there may be replaced.
        on_step: Called after each update.
        on_sample: Called after each validation sample.

    Returns:
        The counts on ``val``, and the seconds that the updates took.

    Raises:
        UsageError: As :func:`check_output`, before training.
        DanetTrainError: As :func:`danet_train.training.loop.train_model`.
    """
    check_output(out, overwrite=overwrite)
    losses: list[float] = []

    def note(progress: Progress) -> None:
        losses.append(progress.loss)
        on_step(progress)

    started = time.perf_counter()
    model = train_model(config, train, note)
    seconds = time.perf_counter() - started
    matrix = evaluate(model, val, config.normalisation, on_sample, config.evaluation)
    scores = scores_of(matrix, val.classes)
    save_checkpoint(
        out,
        model,
        classes=train.classes,
        normalisation=config.normalisation,
        metadata={"step": config.steps, "seed": config.seed, **scores},
    )
    write_record(out, config, scores, seconds, losses)
    return matrix, seconds


def write_record(
    out: Path, config: TrainConfig, scores: dict[str, Any], seconds: float, losses: list[float]
) -> None:
    """Write the JSON record of the checkpoint ``out``.

    Args:
        out: The checkpoint.
        config: Of the run.
        scores: What was measured, by name; plain values.
        seconds: That the updates took.
        losses: Of each update.
    """
    record = {
        **scores,
        "steps": config.steps,
        "training_seconds": round(seconds, 2),
        "loss_curve": _curve(losses),
        "config": config.model_dump(mode="json"),
    }
    with replacing(record_path(out)) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _curve(losses: list[float]) -> list[dict[str, Any]]:
    """The loss as at most about a hundred means over equal stretches of steps."""
    stretch = max(1, len(losses) // _CURVE_POINTS)
    return [
        {"step": min(start + stretch, len(losses)), "loss": sum(part) / len(part)}
        for start in range(0, len(losses), stretch)
        if (part := losses[start : start + stretch])
    ]
