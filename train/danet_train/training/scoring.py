"""Score a network in the middle of its training, by all processes, without any effect on the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from danet_train.data.samples.faults import Skipped, none_readable
from danet_train.data.samples.sample import Dataset
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.evaluation.scoring import require_scored, tally
from danet_train.model.danet import DANet
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import World


class SplitScore(NamedTuple):
    """The result of scoring a split.

    Attributes:
        matrix: The counts over the samples that could be read.
        skipped: Number of samples that could not be read, or have no labels.
    """

    matrix: ConfusionMatrix
    skipped: int


class _StoppedError(Exception):
    """The evaluation was cut short."""


def score_split(
    model: DANet,
    split: Dataset,
    config: TrainConfig,
    world: World,
    *,
    on_sample: Callable[[], None],
    asked_to_stop: Callable[[], bool],
) -> SplitScore | None:
    """Score the whole split; each process predicts its share, and all call this.

    Args:
        model: The network in training; its modes and torch's generators are put back.
        split: The split to score on.
        config: States the evaluation, and whether a sample that cannot be read is skipped.
        world: The processes that train together.
        on_sample: Called after each sample of this process.
        asked_to_stop: Called after each sample.

    Returns:
        The same on every process; None where any was asked to stop.

    Raises:
        DataError: A sample cannot be read under ``stop``, or none of the whole split can; or no pixel
            of it is labelled.
    """

    def advance() -> None:
        on_sample()
        if asked_to_stop():
            raise _StoppedError

    matrix, stopped = ConfusionMatrix(model.config.num_classes), False
    share = split[world.rank :: world.size]
    readable, skipped = 0, tuple[Skipped, ...]()
    try:
        with undisturbed(model):
            scored = tally(
                model,
                share,
                config.normalisation,
                config.evaluation,
                faults=config.bad_samples,
                advance=advance,
            )
        matrix, readable, skipped = scored.matrix, scored.samples, scored.skipped
    except _StoppedError:
        stopped = True
    device = next(model.parameters()).device
    own_counts = [*matrix.counts.ravel().tolist(), readable, len(skipped), int(stopped)]
    counts = world.sum(torch.tensor(own_counts, device=device)).cpu()
    all_readable, all_skipped, any_stopped = counts[-3:].tolist()
    if any_stopped:
        return None
    all_skipped += len(split.skipped)
    if all_skipped and not all_readable:  # of the whole split: a share of bad samples alone is none
        known = [*split.skipped, *(entry for entries in world.gather(skipped[:1]) for entry in entries)]
        raise none_readable(all_skipped, known[0])
    matrix.counts = np.asarray(counts[:-3].numpy(), np.int64).reshape(matrix.counts.shape)
    require_scored(matrix, all_readable)
    return SplitScore(matrix, all_skipped)


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
