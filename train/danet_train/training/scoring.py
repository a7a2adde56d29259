"""Scoring a network in the middle of its training, by all processes, without a trace in what is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from danet_train.data.sample import Dataset
from danet_train.metrics import ConfusionMatrix
from danet_train.model.danet import DANet
from danet_train.normalisation import Normalisation
from danet_train.training.distributed import World
from danet_train.training.evaluate import evaluate


class _StoppedError(Exception):
    """The evaluation was cut short."""


def score_split(
    model: DANet,
    split: Dataset,
    normalisation: Normalisation,
    world: World,
    *,
    on_sample: Callable[[], None],
    asked_to_stop: Callable[[], bool],
) -> ConfusionMatrix | None:
    """The counts of the whole split; each process predicts its share, and all call this.

    Args:
        model: In training; its modes and torch's generators are put back.
        split: To score on.
        normalisation: Of the input.
        world: The processes that train together.
        on_sample: Called after each sample of this process.
        asked_to_stop: Asked after each sample.

    Returns:
        The same on every process; None where any was asked to stop.
    """

    def advance() -> None:
        on_sample()
        if asked_to_stop():
            raise _StoppedError

    matrix, stopped = ConfusionMatrix(model.config.num_classes), False
    try:
        with undisturbed(model):
            matrix = evaluate(model, split[world.rank :: world.size], normalisation, advance)
    except _StoppedError:
        stopped = True
    device = next(model.parameters()).device
    counts = world.sum(torch.tensor([*matrix.counts.ravel().tolist(), int(stopped)], device=device)).cpu()
    if counts[-1]:
        return None
    matrix.counts = np.asarray(counts[:-1].numpy(), np.int64).reshape(matrix.counts.shape)
    return matrix


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
