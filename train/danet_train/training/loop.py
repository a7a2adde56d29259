"""The training loop: a fixed number of steps, then the weights."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from danet_train.data.batches import batches, naming_lost_workers
from danet_train.data.samples.faults import Skipped
from danet_train.data.samples.sample import Dataset
from danet_train.data.torch_samples import TrainingSamples
from danet_train.errors import ConfigError, DataError, TrainingError
from danet_train.model.attention import use_blockwise_attention
from danet_train.model.danet import DANet, freeze_statistics
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import ALONE, World, check_world, pick_device
from danet_train.training.learner import Learner
from danet_train.training.objective.losses import class_weights
from danet_train.training.objective.optimiser import learning_rate, make_optimiser, set_learning_rate
from danet_train.weights.backbone import load_backbone


class Progress(NamedTuple):
    """The report of the loop after a step, over all processes.

    Attributes:
        step: Number of the step, from 1.
        loss: The loss before the step.
        lr: The learning rate of the step, without the factors of parameter groups.
        skipped: Samples that were left out of its batch.
        heads: The loss of each classifier by name, without its weight.
        gradient_norm: Norm of the gradients before clipping.
        stop: Whether a process was asked to stop: this is the step to stop after.
    """

    step: int
    loss: float
    lr: float
    skipped: tuple[Skipped, ...] = ()
    heads: dict[str, float] = {}  # noqa: RUF012 - never written to
    gradient_norm: float = 0.0
    stop: bool = False


class Generators(NamedTuple):
    """The states of torch's random generators: bytes; ``cuda`` is None on a CPU."""

    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> Generators:
        """Return the states as they are."""
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None)

    def restore(self, device: torch.device) -> None:
        """Put them back."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None and device.type == "cuda":
            torch.cuda.set_rng_state(self.cuda, device)


def train_model(
    config: TrainConfig, dataset: Dataset, report: Callable[[Progress], None] = lambda progress: None
) -> DANet:
    """Train a DANet on ``dataset``; the same arguments give the same weights on the same machine.

    Args:
        config: Everything about the run.
        dataset: The training split.
        report: Called after each step.

    Returns:
        The model in eval mode, on the device it was trained on.

    Raises:
        ConfigError: The config states another number of classes than the dataset has, or a CUDA device
            that is not there.
        DataError: The dataset is empty.
        CheckpointError: The backbone's weights do not fit.
        TrainingError: The loss is not finite, or a process that loads died.
    """
    device = prepare(config, dataset)
    learner = make_learner(config, len(dataset.classes), device)
    with naming_lost_workers(), closing(training_steps(learner, config, dataset)) as stream:
        for progress in stream:
            report(progress)
    trained: DANet = learner.model.eval()
    return trained


def prepare(config: TrainConfig, dataset: Dataset, world: World = ALONE) -> torch.device:
    """Seed the generators, set the threads, and return the device.

    Raises:
        ConfigError: A CUDA device is asked for and not there, or the processes cannot train this together.
        DataError: The dataset is empty.
    """
    if len(dataset) == 0:
        raise DataError("the training split is empty")
    device = pick_device(config.device, world)
    check_world(world, device, config.batch_size, config.loop.accumulate, config.loop.frozen_batch_norm)
    torch.set_num_threads(config.threads)
    _seed_everything(config.seed)
    return device


def make_learner(
    config: TrainConfig,
    num_classes: int,
    device: torch.device,
    world: World = ALONE,
    *,
    fresh: bool = True,
) -> Learner:
    """Return the network that a training begins with, and its optimiser.

    Args:
        config: Everything about the run.
        num_classes: Number of classes of the dataset.
        device: The device to train on.
        world: The processes that train together.
        fresh: Whether the backbone's weights are read; not needed where all weights are loaded next.

    Raises:
        ConfigError: The config states another number of classes.
        CheckpointError: The backbone's weights do not fit.
    """
    model = _make_model(config, num_classes, fresh=fresh).to(device).train()
    if world.size > 1 and not config.loop.frozen_batch_norm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    if config.loop.frozen_batch_norm:
        freeze_statistics(model)
    if config.loop.attention == "blockwise":
        use_blockwise_attention(model, config.loop.attention_rows)
    learner = Learner(model, config, [make_optimiser(model, config.optimiser)], world)
    if not world.is_main:
        torch.manual_seed(world.seed(config.seed))  # the same weights everywhere, but each its own dropout
    return learner


def training_steps(
    learner: Learner,
    config: TrainConfig,
    dataset: Dataset,
    world: World = ALONE,
    *,
    first: int = 0,
    generators: Generators | None = None,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, None]:
    """Run steps until there were ``config.steps``; yield after each.

    Between two steps the caller must leave the weights, the modes of the modules and torch's generators as
    they are.

    Args:
        learner: The learner, in its state after ``first`` steps.
        config: Everything about the run.
        dataset: The training split.
        world: The processes that train together.
        first: Number of steps that were run before.
        generators: Their states after those steps; None keeps the present ones.
        asked_to_stop: Whether this process is to stop; shared with all processes at each step.

    Raises:
        TrainingError: The loss is not finite.
    """
    device = next(learner.model.parameters()).device
    samples = _samples(config, dataset)
    weights = None
    if config.loss.class_balance:
        pixels = samples.count_pixels(learner.model.config.num_classes)
        weights = class_weights(pixels, config.loss.class_balance).to(device)
    stream = batches(
        samples,
        config.batch_size,
        workers=config.workers,
        first=first,
        rank=world.rank,
        world=world.size,
    )
    with closing(stream):
        for step, batch in enumerate(stream, start=first):
            if step == first and generators is not None:
                generators.restore(device)  # now, for the loader drew from them when it began
            lr = learning_rate(step, config.steps, config.optimiser.lr, config.schedule)
            set_learning_rate(learner.optimisers, lr)
            try:
                result = learner.step(batch, weights, asked_to_stop=asked_to_stop())
            except TrainingError as error:
                raise TrainingError(
                    f"{error} at step {step + 1}; lower optimiser.lr (now {lr:.2g})"
                ) from error
            skipped = _skipped_everywhere(batch.skipped, world) if result.skipped else ()
            yield Progress(
                step + 1, result.loss, lr, skipped, result.heads, result.gradient_norm, result.stop
            )


def _skipped_everywhere(skipped: Sequence[Skipped], world: World) -> tuple[Skipped, ...]:
    lists: list[tuple[Skipped, ...]] = world.gather(tuple(skipped))
    return tuple(entry for entries in lists for entry in entries)


def _make_model(config: TrainConfig, num_classes: int, *, fresh: bool) -> DANet:
    stated = "num_classes" in config.model.model_fields_set
    if stated and config.model.num_classes != num_classes:
        raise ConfigError(
            f"model.num_classes is {config.model.num_classes}, but the dataset has {num_classes} classes; "
            "leave it out to follow the dataset"
        )
    model = DANet(config.model.model_copy(update={"num_classes": num_classes}))
    if fresh and config.backbone_weights is not None:
        load_backbone(model.backbone, Path(config.backbone_weights))
    return model


def _samples(config: TrainConfig, dataset: Dataset) -> TrainingSamples:
    return TrainingSamples(
        dataset,
        config.steps * config.batch_size,
        config.augmentation,
        config.normalisation,
        config.seed,
        in_memory=config.in_memory,
        bad_samples=config.bad_samples,
    )


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
