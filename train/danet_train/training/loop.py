"""The training loop: a fixed number of updates, then the weights."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from danet_train.data.batches import batches
from danet_train.data.faults import Skipped
from danet_train.data.sample import Dataset
from danet_train.data.torch_samples import TrainingSamples
from danet_train.errors import ConfigError, DataError, TrainingError
from danet_train.model.danet import DANet, TrainingLogits
from danet_train.training.config import TrainConfig
from danet_train.training.evaluate import aligns_corners
from danet_train.training.losses import class_weights, total_loss
from danet_train.training.schedule import learning_rate
from danet_train.training.sections import OptimiserConfig
from danet_train.weights.backbone import load_backbone


class Progress(NamedTuple):
    """What the loop reports after an update.

    Attributes:
        step: The update's number, from 1.
        loss: Before it.
        lr: The learning rate that it was made with, without the factors of parameter groups.
        skipped: Samples that were left out on the way to its batch.
    """

    step: int
    loss: float
    lr: float
    skipped: tuple[Skipped, ...] = ()


def train_model(
    config: TrainConfig, dataset: Dataset, report: Callable[[Progress], None] = lambda progress: None
) -> DANet:
    """Train a DANet on ``dataset``; the same arguments give the same weights on the same machine.

    Args:
        config: Everything about the run.
        dataset: The training split.
        report: Called after each update.

    Returns:
        The model in eval mode, on the device it was trained on.

    Raises:
        ConfigError: The config states another number of classes than the dataset has, or a CUDA device
            that is not there.
        DataError: The dataset is empty.
        CheckpointError: The backbone's weights do not fit.
        TrainingError: The loss is not finite.
    """
    device = prepare(config, dataset)
    model = make_model(config, len(dataset.classes)).to(device).train()
    for progress in updates(model, config, dataset, [make_optimiser(model, config.optimiser)]):
        report(progress)
    trained: DANet = model.eval()
    return trained


def prepare(config: TrainConfig, dataset: Dataset) -> torch.device:
    """Seed the generators, set the threads, and return the device.

    Raises:
        ConfigError: A CUDA device is asked for and not there.
        DataError: The dataset is empty.
    """
    if len(dataset) == 0:
        raise DataError("the training split is empty")
    device = pick_device(config.device)
    torch.set_num_threads(config.threads)
    _seed_everything(config.seed)
    return device


def updates(
    model: DANet,
    config: TrainConfig,
    dataset: Dataset,
    optimisers: Sequence[tuple[torch.optim.Optimizer, list[float]]],
) -> Iterator[Progress]:
    """Update the weights ``config.steps`` times; yields after each update.

    What the caller does between two updates must leave the weights, the modes of the modules and torch's
    generators as they are.

    Args:
        model: On its device, in the mode to be trained in.
        config: Everything about the run.
        dataset: The training split.
        optimisers: Each with a factor on the learning rate for each of its parameter groups.

    Raises:
        TrainingError: The loss is not finite.
    """
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = next(model.parameters()).device
    align_corners = aligns_corners(model.config.align_corners, config.augmentation.crop_hw)

    samples = _samples(config, dataset)
    weights = None
    if config.loss.class_balance:
        pixels = samples.count_pixels(model.config.num_classes)
        weights = class_weights(pixels, config.loss.class_balance).to(device)

    for step, batch in enumerate(batches(samples, config.batch_size, workers=config.workers)):
        lr = learning_rate(step, config.steps, config.optimiser.lr, config.schedule)
        for optimiser, factors in optimisers:
            for group, factor in zip(optimiser.param_groups, factors, strict=True):
                group["lr"] = lr * factor
        image = batch.image.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            logits: TrainingLogits = model(image)
        label = batch.label.to(device)
        loss = total_loss(logits, label, config.loss, align_corners=align_corners, weights=weights)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value} at step {step + 1}; lower optimiser.lr (now {lr:.2g})")
        for optimiser, _ in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.optimiser.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip_norm)
        for optimiser, _ in optimisers:
            optimiser.step()
        yield Progress(step + 1, value, lr, batch.skipped)


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device of that name; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: ``cuda`` is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no CUDA device; use 'cpu' or 'auto'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def make_optimiser(model: DANet, config: OptimiserConfig) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser, and a factor on the learning rate for each of its parameter groups."""
    groups: list[dict[str, object]] = []
    factors: list[float] = []
    for modules, factor in (
        ((model.backbone,), 1.0),
        ((model.decode_head, model.auxiliary_head), config.head_lr_factor),
    ):
        parameters = [p for module in modules if module is not None for p in module.parameters()]
        if config.kind == "sgd":
            split: Iterable[tuple[list[nn.Parameter], float]] = ((parameters, config.weight_decay),)
        else:
            split = (
                ([p for p in parameters if p.ndim >= 2], config.weight_decay),
                ([p for p in parameters if p.ndim < 2], 0.0),
            )
        for members, decay in split:
            groups.append({"params": members, "weight_decay": decay})
            factors.append(factor)
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum), factors
    return torch.optim.AdamW(groups, lr=config.lr), factors


def make_model(config: TrainConfig, num_classes: int) -> DANet:
    """The network that a training begins with.

    Raises:
        ConfigError: The config states another number of classes.
        CheckpointError: The backbone's weights do not fit.
    """
    stated = "num_classes" in config.model.model_fields_set
    if stated and config.model.num_classes != num_classes:
        raise ConfigError(
            f"model.num_classes is {config.model.num_classes}, but the dataset has {num_classes} classes; "
            "leave it out to follow the dataset"
        )
    model = DANet(config.model.model_copy(update={"num_classes": num_classes}))
    if config.backbone_weights is not None:
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
    )


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
