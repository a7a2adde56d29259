"""The configuration of a training run: typed, closed, and stated as differences from the defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from danet_train.config.inheritance import explain, find_config, read_settings
from danet_train.config.sections import (
    CLOSED,
    AugmentationConfig,
    EvaluationConfig,
    LoopConfig,
    LossConfig,
    Normalisation,
    OptimiserConfig,
    PublishedResult,
    QuantisationConfig,
    ScheduleConfig,
)
from danet_train.data.samples.faults import FaultPolicy
from danet_train.model.config import DANetConfig


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes a list on one line, as the packaged configurations have it."""


_Dumper.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True),
)


class TrainConfig(BaseModel):
    """One training run.

    Attributes:
        model: The network; ``num_classes`` follows the dataset unless it is stated.
        normalisation: Mean and deviation of the input.
        augmentation, optimiser, schedule, loss, loop, quantisation, evaluation: See their classes.
        published: The scores that the reference of the configuration reports, None where there are none.
        steps: Number of training steps.
        batch_size: Crops in a step, over all processes that train together.
        seed: Seed of the weights, the order of samples and their augmentation.
        workers: Number of processes that load samples; 0 loads in the training process.
        in_memory: Keep the decoded training set in memory.
        bad_samples: ``stop`` ends the run at a sample that cannot be read; ``skip`` gives another in its
            place, the same one whoever loads it, and counts.
        threads: Threads of torch on a CPU.
        precision: ``bf16`` runs convolutions and products in bfloat16 (autocast); weights, optimiser and loss
            stay float32. Four times as fast as ``fp32`` on a CPU with AMX, slower on one without bfloat16,
            where ``danet train`` takes ``fp32`` unless ``precision=bf16`` is stated.
            ``fp16`` is for GPUs without bfloat16: the loss is scaled so that small gradients survive, and
            steps whose loss or gradients overflow are left out; slow on a CPU.
        device: ``auto`` takes CUDA where there is one.
        backbone_weights: A file with the backbone's weights to start from: ImageNet's by torchvision's or
            mmsegmentation's names, or any DANet that ``danet import`` takes, ``pretrained:NAME`` too.
    """

    model_config = CLOSED

    model: DANetConfig = DANetConfig()
    normalisation: Annotated[Normalisation, Field(strict=False)] = Normalisation()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: LossConfig = LossConfig()
    loop: LoopConfig = LoopConfig()
    quantisation: QuantisationConfig = QuantisationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    published: PublishedResult | None = None
    steps: int = Field(default=40_000, ge=1)
    batch_size: int = Field(default=8, ge=2)
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    workers: int = Field(default=0, ge=0)
    in_memory: bool = False
    bad_samples: FaultPolicy = "stop"
    threads: int = Field(default=2, ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    backbone_weights: str | None = None

    @model_validator(mode="after")
    def _batch_divides(self) -> TrainConfig:
        if self.batch_size % self.loop.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of loop.accumulate {self.loop.accumulate}"
            )
        return self

    @model_validator(mode="after")
    def _label_stride_meets_the_logits(self) -> TrainConfig:
        """Refuse a label stride whose pixels do not lie in the middle of the logits resized to them."""
        stride, crop = self.loss.label_stride, self.augmentation.crop_hw
        if any(size % stride for size in crop):
            nearest = tuple(-(-size // stride) * stride for size in crop)
            raise ValueError(
                f"augmentation.crop_hw {crop} must be a multiple of loss.label_stride {stride}, e.g. "
                f"{nearest}"
            )
        if stride > 1 and self.model.align_corners:
            raise ValueError(
                f"loss.label_stride {stride} takes the middles of cells, where logits resized with "
                "model.align_corners do not lie; set loss.label_stride: 1"
            )
        return self


def read_config(name_or_path: str, *assignments: str, **overrides: Any) -> TrainConfig:  # noqa: ANN401 - TrainConfig checks them
    """Read the packaged configuration of that name (e.g. ``demo``), or else the YAML file at that path.

    Args:
        name_or_path: The configuration to read; its settings replace those of its ``base:``.
        *assignments: Settings of any section, as ``optimiser.lr=0.02``; the value is YAML.
        **overrides: Top-level fields to replace; those that are None stay as the file has them.

    Raises:
        ConfigError: Neither exists, the YAML is damaged, a base is missing or goes in a circle, or a key or
            value is not accepted.
    """
    path = find_config(name_or_path)
    content = read_settings(path, assignments)
    content.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        raise explain(" with ".join([str(path), *assignments]), error) from error


def as_yaml(config: TrainConfig) -> str:
    """Return a configuration with its defaults as YAML, which is read as the same configuration.

    A number of classes that follows the dataset is left out, and so are published scores.
    """
    stated = "num_classes" in config.model.model_fields_set
    content = config.model_dump(
        mode="json", exclude={"published": True, "model": set() if stated else {"num_classes"}}
    )
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False))
