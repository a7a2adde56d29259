"""Fine-tuning for INT8: a checkpoint becomes one whose weights and scales were trained under quantisation."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danet_train.checkpoint import Checkpoint, save_checkpoint
from danet_train.data.batches import naming_lost_workers
from danet_train.data.samples.faults import Skipped, read_sample
from danet_train.data.samples.sample import Dataset, Splits
from danet_train.data.torch_samples import normalise
from danet_train.errors import ConfigError
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.evaluation.scoring import check_classes_agree, check_splits_agree, score, scores_of
from danet_train.model.danet import DANet
from danet_train.quantisation.network import QuantisedNetwork
from danet_train.training.config import TrainConfig
from danet_train.training.history import History
from danet_train.training.learner import Learner
from danet_train.training.listeners import NOBODY, Listeners
from danet_train.training.loop import prepare, training_steps
from danet_train.training.objective.optimiser import make_optimiser
from danet_train.training.outputs import check_output, reserved, write_record

EVALUATIONS = 3
"""Number of evaluations of the validation split: INT8 before, INT8 after, and floating point after."""


@dataclass(frozen=True)
class FineTuned:
    """The result of a fine-tuning, on the validation split.

    Attributes:
        int8_before: Counts of the fake-quantised network with the first scales, before the first step.
        int8: Counts of the fake-quantised network after the last step.
        float32: Counts of the same weights without quantisation.
        seconds: Time that the steps took.
    """

    int8_before: ConfusionMatrix
    int8: ConfusionMatrix
    float32: ConfusionMatrix
    seconds: float


def fine_tuning_config(
    config: TrainConfig, checkpoint: Checkpoint, *, steps: int | None = None
) -> TrainConfig:
    """Return the configuration of the fine-tuning that follows a training with ``config``.

    The network and its normalisation are the checkpoint's. Dropout, which no tensor
    shows, is the configuration's.

    Args:
        config: The configuration of the training.
        checkpoint: The checkpoint to continue from.
        steps: Number of steps; None for the configuration's.

    Raises:
        ConfigError: ``config`` states another network or normalisation than the checkpoint holds.
    """
    held = checkpoint.model.config
    for field in sorted(config.model.model_fields_set - {"dropout"}):
        stated, came = getattr(config.model, field), getattr(held, field)
        if stated != came:
            raise ConfigError(
                f"model.{field} is {stated} in the configuration, but {came} in the checkpoint; leave it out "
                "to follow the checkpoint, or give the configuration that it was trained with"
            )
    if "normalisation" in config.model_fields_set and config.normalisation != checkpoint.normalisation:
        raise ConfigError(
            f"the normalisation is {config.normalisation} in the configuration, but "
            f"{checkpoint.normalisation} in the checkpoint; leave it out to follow the checkpoint"
        )
    if steps is not None and steps < 1:
        raise ConfigError(f"steps must be 1 or more (got {steps})")
    if held.align_corners and config.loss.label_stride > 1:
        raise ConfigError(
            f"loss.label_stride {config.loss.label_stride} does not go with the checkpoint's align_corners; "
            "set loss.label_stride: 1"
        )
    settings = config.quantisation
    return config.model_copy(
        update={
            "model": held.model_copy(update={"dropout": config.model.dropout}),
            "normalisation": checkpoint.normalisation,
            "steps": steps or settings.steps or max(1, config.steps // 10),
            "optimiser": config.optimiser.model_copy(update={"lr": config.optimiser.lr * settings.lr_factor}),
            "schedule": config.schedule.model_copy(
                update={"eta_min": config.schedule.eta_min * settings.lr_factor, "warmup_steps": 0}
            ),
        }
    )


def fine_tune_to_file(
    config: TrainConfig,
    checkpoint: Checkpoint,
    splits: Splits,
    out: Path,
    *,
    overwrite: bool = False,
    listeners: Listeners = NOBODY,
) -> FineTuned:
    """Fine-tune under quantisation, evaluate, and write ``out`` and its record.

    Args:
        config: The result of :func:`fine_tuning_config`.
        checkpoint: The checkpoint to continue from. Where it has scales, they are the first ones.
        splits: The training split, which also gives the first scales, and the validation split, which is
            scored ``EVALUATIONS`` times.
        out: The checkpoint to write, with any suffix but ``.json``.
        overwrite: Whether a checkpoint and a record there may be replaced.
        listeners: Callbacks for phases, steps and samples.

    Raises:
        UsageError: :func:`danet_train.training.outputs.check_output` refuses ``out``; another run writes the
            same files.
        DataError: The dataset is empty, its classes are not the checkpoint's, or the splits' classes differ.
        QuantisationError: An activation is not finite.
        TrainingError: The loss is not finite, or a process that loads died.
    """
    train, val = splits
    with reserved(out):
        check_output(out, overwrite=overwrite)
        check_classes_agree(checkpoint.classes, checkpoint.model.config.num_classes, train.classes)
        check_splits_agree(train.classes, val.classes)
        device = prepare(config, train)
        if checkpoint.scales is None:
            listeners.on_phase(
                f"finding the first scales on {min(config.quantisation.frames, len(train))} frames"
            )
        network = _quantised(config, checkpoint, train, device)

        def counts(model: DANet, how: str) -> ConfusionMatrix:
            listeners.on_phase(f"scoring {how}")
            return score(
                model,
                val,
                config.normalisation,
                config.evaluation,
                faults=config.bad_samples,
                advance=listeners.on_sample,
            ).matrix

        int8_before = counts(network.model, "INT8 before the fine-tuning")
        listeners.on_phase("fine-tuning")
        history = History()
        started = time.perf_counter()
        network.train_with_frozen_statistics()
        optimisers = [make_optimiser(network.model, config.optimiser)]
        if config.quantisation.scale_lr:
            learned = [quantiser.log_scale for quantiser in network.quantisers.values()]
            factor = config.quantisation.scale_lr / config.optimiser.lr
            optimisers.append((torch.optim.Adam(learned, lr=config.quantisation.scale_lr), [factor]))
        learner = Learner(network.model, config, optimisers)
        with naming_lost_workers(), closing(training_steps(learner, config, train)) as stream:
            for progress in stream:
                history.note(progress)
                listeners.on_step(progress)
        seconds = time.perf_counter() - started
        network.round_scales()

        int8 = counts(network.model, "INT8")
        plain = network.plain_model()
        float32 = counts(plain.to(device), "floating point")
        scores = {
            **scores_of(float32, val.classes),
            "int8_before": scores_of(int8_before, val.classes),
            "int8": scores_of(int8, val.classes),
        }
        save_checkpoint(
            out,
            plain,
            classes=train.classes,
            normalisation=config.normalisation,
            metadata={
                "step": config.steps,
                "seed": config.seed,
                "fine_tuned_from_sha256": checkpoint.sha256,
                **scores,
            },
            scales=network.scales(),
        )
        write_record(out, config, scores, seconds, history)
        return FineTuned(int8_before, int8, float32, seconds)


def _quantised(
    config: TrainConfig, checkpoint: Checkpoint, train: Dataset, device: torch.device
) -> QuantisedNetwork:
    model = DANet(config.model)
    model.load_state_dict(copy.deepcopy(checkpoint.model.state_dict()))
    network = QuantisedNetwork(model.to(device), percentile=config.quantisation.percentile)
    if checkpoint.scales is None:
        network.calibrate(_frames(train, config, device))
    else:
        network.set_scales(checkpoint.scales)
    return network


def _frames(dataset: Dataset, config: TrainConfig, device: torch.device) -> Iterator[Tensor]:
    count = min(config.quantisation.frames, len(dataset))
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int):
        sample = read_sample(dataset, int(index), config.bad_samples)
        if not isinstance(sample, Skipped):
            yield normalise(sample.image, config.normalisation)[None].to(device)
