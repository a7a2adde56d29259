"""The sections of a training run's configuration; :mod:`danet_train.training.config` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_Positive = Annotated[int, Field(ge=1)]
CLOSED = ConfigDict(extra="forbid", frozen=True, strict=True)
"""An unknown key, a wrong type and a later change are refused."""


class AugmentationConfig(BaseModel):
    """How a sample is varied; the defaults are mmsegmentation's for Cityscapes.

    Attributes:
        scale: Range of the random resize, keeping the aspect ratio.
        crop_hw: Of the random crop in pixels; a smaller picture is padded with ignored pixels.
        crop_max_ratio: A crop of which one class fills more is drawn again, up to ten times; 1 takes any.
        flip: Probability of mirroring.
        photometric: Probability of each distortion of brightness, contrast, saturation and hue.
        brightness: Largest shift in levels.
        contrast: Range of the factor on contrast and on saturation.
        hue_degrees: Largest turn of the hue.
    """

    model_config = CLOSED

    scale: Annotated[tuple[float, float], Field(strict=False)] = (0.5, 2.0)
    crop_hw: Annotated[tuple[_Positive, _Positive], Field(strict=False)] = (512, 1024)
    crop_max_ratio: float = Field(default=0.75, gt=0, le=1)
    flip: float = Field(default=0.5, ge=0, le=1)
    photometric: float = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=32.0, ge=0)
    contrast: Annotated[tuple[float, float], Field(strict=False)] = (0.5, 1.5)
    hue_degrees: float = Field(default=36.0, ge=0)

    @model_validator(mode="after")
    def _ranges_ascend(self) -> AugmentationConfig:
        for name, (low, high) in (("scale", self.scale), ("contrast", self.contrast)):
            if not 0 < low <= high:
                raise ValueError(f"{name} must be a range [low, high] with 0 < low <= high")
        return self


class OptimiserConfig(BaseModel):
    """What moves the weights.

    Attributes:
        kind: ``sgd`` with momentum, or ``adamw``.
        lr: Learning rate at the start, after the warm-up.
        momentum: Of SGD.
        weight_decay: On every parameter for SGD; on weights of two axes and more for AdamW.
        head_lr_factor: On the learning rate of both heads (10 in the paper, 1 in mmsegmentation).
        clip_norm: Largest norm of the gradient; None for no limit.
    """

    model_config = CLOSED

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    head_lr_factor: float = Field(default=1.0, gt=0)
    clip_norm: float | None = Field(default=None, gt=0)


class ScheduleConfig(BaseModel):
    """How the learning rate falls.

    Attributes:
        power: Of the polynomial in the part of steps that are left.
        eta_min: The learning rate does not fall below it.
        warmup_steps: The learning rate first rises linearly over so many steps.
    """

    model_config = CLOSED

    power: float = Field(default=0.9, gt=0)
    eta_min: float = Field(default=1e-4, ge=0)
    warmup_steps: int = Field(default=0, ge=0)


class LossConfig(BaseModel):
    """What is minimised.

    Attributes:
        branch_weight: On the losses of the two branches' own classifiers; the sum's weight is 1.
        aux_weight: On the auxiliary head's.
        mean_over: ``all`` divides by all pixels, ignored ones included (mmsegmentation's default);
            ``valid`` by those that count.
        class_balance: Each class weighs (median frequency / its frequency) to this power; 0 for equal
            weights, 1 for median frequency balancing (Eigen and Fergus 2015).
        label_stride: The loss looks at the middle pixel of each cell of so many pixels a side. 3 makes the
            loss nine times cheaper, which is half of a step of a small network on a CPU.
    """

    model_config = CLOSED

    branch_weight: float = Field(default=1.0, ge=0)
    aux_weight: float = Field(default=0.4, ge=0)
    mean_over: Literal["all", "valid"] = "all"
    class_balance: float = Field(default=0.0, ge=0, le=1)
    label_stride: int = Field(default=1, ge=1, le=8)

    @field_validator("label_stride")
    @classmethod
    def _has_a_middle(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("label_stride must be odd, so that a middle pixel stands for each cell")
        return value


class LoopConfig(BaseModel):
    """How the updates are run.

    Attributes:
        evaluate_every: The validation split is scored after so many updates, and the best weights are kept;
            None scores it only at the end.
        save_every: What the training is resumed from is saved after so many updates, besides around each
            evaluation and when the training is interrupted.
        accumulate: The batch of an update goes through the network in so many parts, for less memory. The
            update is the same where batch statistics are frozen; else they are those of each part.
        frozen_batch_norm: Keep the running statistics as they are, and normalise with them; the weights and
            biases of batch norm are still trained. For fine-tuning, and for small batches.
        channels_last: Lay tensors out as (B, H, W, C) in memory, which convolutions are faster on.
        compile: Compile the network with ``torch.compile``; needs a C++ compiler on a CPU.
        attention: ``plain`` keeps position attention's whole map of N x N positions; ``blockwise`` computes
            it again on the way back, a block of rows at a time, in memory that grows with N alone. The
            weights are the same, and so is the arithmetic but for its order.
        attention_rows: Of a block of ``blockwise``.
    """

    model_config = CLOSED

    evaluate_every: int | None = Field(default=None, ge=1)
    save_every: int = Field(default=1000, ge=1)
    accumulate: int = Field(default=1, ge=1)
    frozen_batch_norm: bool = False
    channels_last: bool = True
    compile: bool = False
    attention: Literal["plain", "blockwise"] = "plain"
    attention_rows: int = Field(default=512, ge=1)


class QuantisationConfig(BaseModel):
    """How a checkpoint is fine-tuned for INT8; says nothing on a training from scratch.

    Attributes:
        steps: Updates; None for a tenth of the training's.
        lr_factor: On the optimiser's learning rate, its floor included; there is no warm-up.
        scale_lr: Of the logarithms of the activations' scales, by Adam: at first a step changes a scale by
            this share. It falls with the weights' learning rate. 0 leaves the scales as they were found.
        frames: Of the training split, evenly chosen, not augmented, on which the scales are found at first.
        percentile: Of a frame's magnitudes that a scale reaches at first; 100 is the largest.
    """

    model_config = CLOSED

    steps: int | None = Field(default=None, ge=1)
    lr_factor: float = Field(default=0.01, gt=0, le=1)
    scale_lr: float = Field(default=0.005, ge=0, le=0.1)
    frames: int = Field(default=64, ge=1)
    percentile: float = Field(default=99.99, gt=50, le=100)
