"""A training run from data on disk to its checkpoints and their record.

Beside the checkpoint that is asked for, ``checkpoint.pt``, stand:

- ``checkpoint.json``: the record: scores, curves, configuration.
- ``checkpoint.best.pt``: the weights of the best evaluation so far, where the run evaluates on its way
  (``loop.evaluate_every``). Written whenever there is a better one.

``checkpoint.pt`` itself holds the weights of the last update; it and the record appear when all went well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from danet_train.checkpoint import save_checkpoint
from danet_train.data.sample import Dataset
from danet_train.errors import UsageError
from danet_train.evaluation.scoring import evaluate, scores_of
from danet_train.files import check_file_target, replacing
from danet_train.metrics import ConfusionMatrix
from danet_train.model.danet import DANet
from danet_train.training.config import TrainConfig
from danet_train.training.history import History
from danet_train.training.loop import Progress, make_learner, prepare, updates


def record_path(checkpoint: Path) -> Path:
    """Where the JSON record of a checkpoint lies: beside it, ``checkpoint.pt`` -> ``checkpoint.json``."""
    return checkpoint.with_suffix(".json")


def best_path(checkpoint: Path) -> Path:
    """Where the best weights of a run lie: ``checkpoint.pt`` -> ``checkpoint.best.pt``."""
    return checkpoint.with_suffix(f".best{checkpoint.suffix}")


def check_output(out: Path, *, overwrite: bool = False) -> None:
    """Find out before training that a checkpoint cannot be written to ``out``, or would replace a file.

    Raises:
        UsageError: ``out`` is the path of a record or of a folder, cannot be written, or, where ``overwrite``
            is false, it, its record or its best weights exist.
    """
    if out.suffix == ".json":
        raise UsageError(
            f"{out} would be the record of the checkpoint; name the checkpoint e.g. checkpoint.pt"
        )
    for path in (out, record_path(out), best_path(out)):
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
    on_score: Callable[[int, ConfusionMatrix], None] = lambda step, matrix: None,
) -> tuple[ConfusionMatrix, float]:
    """Train, evaluate, and write ``out`` and its JSON record; both appear only when all went well.

    Evaluations on the way change nothing of what is trained: the weights are those of a run without them.

    Args:
        config: Of the run.
        train: The split to learn from.
        val: The split to score on.
        out: The checkpoint to write, with any suffix but ``.json``. What stands beside it: see the module.
        overwrite: Whether a checkpoint, a record and best weights there may be replaced.
        on_step: Called after each update.
        on_sample: Called after each validation sample.
        on_score: Called after each evaluation with the number of updates before it and the counts.

    Returns:
        The counts on ``val`` after the last update, and the seconds that the updates took.

    Raises:
        UsageError: As :func:`check_output`, before training.
        DanetTrainError: As :func:`danet_train.training.loop.train_model`.
    """
    check_output(out, overwrite=overwrite)
    best_path(out).unlink(missing_ok=True)  # of an earlier run
    device = prepare(config, train)
    learner = make_learner(config, len(train.classes), device)
    model = learner.model
    history = History()

    def save(path: Path, step: int, matrix: ConfusionMatrix) -> None:
        metadata = {"step": step, "seed": config.seed, **scores_of(matrix, val.classes)}
        save_checkpoint(
            path, model, classes=train.classes, normalisation=config.normalisation, metadata=metadata
        )

    every = config.loop.evaluate_every
    evaluation_seconds = 0.0
    matrix = ConfusionMatrix(len(val.classes))
    started = time.perf_counter()
    for progress in updates(learner, config, train):
        history.note(progress)
        on_step(progress)
        if progress.step == config.steps or (every is not None and progress.step % every == 0):
            paused = time.perf_counter()
            with undisturbed(model):
                matrix = evaluate(model, val, config.normalisation, on_sample, config.evaluation)
            if history.score(matrix) and every is not None:
                save(best_path(out), progress.step, matrix)
            on_score(progress.step, matrix)
            evaluation_seconds += time.perf_counter() - paused
    seconds = time.perf_counter() - started - evaluation_seconds
    save(out, config.steps, matrix)
    write_record(out, config, scores_of(matrix, val.classes), seconds, history)
    return matrix, seconds


@contextmanager
def undisturbed(model: DANet) -> Iterator[None]:
    """Put the modes of all modules and torch's generators back after the block, as training left them."""
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def write_record(
    out: Path, config: TrainConfig, scores: dict[str, Any], seconds: float, history: History
) -> None:
    """Write the JSON record of the checkpoint ``out``.

    Args:
        out: The checkpoint.
        config: Of the run.
        scores: What was measured, by name; plain values.
        seconds: That the updates took.
        history: Of the updates.
    """
    record = {
        **scores,
        "steps": config.steps,
        "training_seconds": round(seconds, 2),
        **history.document(),
        "config": config.model_dump(mode="json"),
    }
    with replacing(record_path(out)) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
