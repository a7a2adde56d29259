"""The configuration of a training run: typed, closed, and stated as differences from the defaults."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from danet_train.errors import ConfigError
from danet_train.model.config import DANetConfig
from danet_train.normalisation import Normalisation
from danet_train.training.sections import (
    CLOSED,
    AugmentationConfig,
    LoopConfig,
    LossConfig,
    OptimiserConfig,
    QuantisationConfig,
    ScheduleConfig,
)
from danet_train.validation import explain


class TrainConfig(BaseModel):
    """One training run.

    Attributes:
        model: The network; ``num_classes`` follows the dataset unless it is stated.
        normalisation: Of the input.
        augmentation, optimiser, schedule, loss, loop, quantisation: See their classes.
        steps: Updates of the weights.
        batch_size: Crops an update, over all processes that train together.
        seed: Of the weights, the order of samples and their augmentation.
        workers: Processes that load samples; 0 loads in the training process.
        in_memory: Keep the decoded training set in memory.
        threads: Of torch on a CPU.
        precision: ``bf16`` runs convolutions and products in bfloat16 (autocast); weights, optimiser and loss
            stay float32. Four times as fast as ``fp32`` on a CPU with AMX, slower on one without bfloat16.
            ``fp16`` is for GPUs without bfloat16: the loss is scaled so that small gradients survive, and
            updates whose gradients overflow are left out; slow on a CPU.
        device: ``auto`` takes CUDA where there is one.
        backbone_weights: A file with the backbone's weights to start from: ImageNet's by torchvision's or
            mmsegmentation's names, or any DANet that ``danet import`` takes.
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
    steps: int = Field(default=40_000, ge=1)
    batch_size: int = Field(default=8, ge=2)
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    in_memory: bool = False
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


def read_config(name_or_path: str, **overrides: Any) -> TrainConfig:  # noqa: ANN401 - TrainConfig checks them
    """The packaged configuration of that name (e.g. ``demo``), or else the YAML file at that path.

    Args:
        name_or_path: What to read.
        **overrides: Top-level fields to replace; those that are None stay as the file has them.

    Raises:
        ConfigError: Neither exists, the YAML is damaged, or a key or value is not accepted.
    """
    folder = Path(str(files("danet_train"))) / "configs"
    path = folder / f"{name_or_path}.yaml"
    if "/" in name_or_path or not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        packaged = ", ".join(sorted(entry.stem for entry in folder.glob("*.yaml")))
        raise ConfigError(
            f"there is no configuration {name_or_path!r}; give a YAML file or one of: {packaged}"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a mapping of settings, not {content!r:.60}")
    content.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        raise explain(str(path), error) from error
