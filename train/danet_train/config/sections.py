"""The sections of a training run's configuration; :mod:`danet_train.training.config` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_Positive = Annotated[int, Field(ge=1)]
CLOSED = ConfigDict(extra="forbid", frozen=True, strict=True)
"""An unknown key, a wrong type and a later change are refused."""


_PositiveFloat = Annotated[float, Field(gt=0)]


class Normalisation(BaseModel):
    """``(value - mean) / std`` per channel, in RGB order, on the scale 0..255.

    The defaults are ImageNet's statistics, which mmsegmentation's and the authors' weights both use.

    Attributes:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[_PositiveFloat, _PositiveFloat, _PositiveFloat] = (58.395, 57.12, 57.375)


class AugmentationConfig(BaseModel):
    """The augmentation of a sample; the defaults are mmsegmentation's for Cityscapes.

    Attributes:
        kind: The order of the steps, and the details of each. ``mmsegmentation``: resize within ``base_hw``
            times the scale, crop, flip, colors (contrast before or after saturation and hue by a coin), pad.
            ``authors``: flip, resize the short side to a whole number of pixels, with smoothing, pad, crop.
            ``plain``: resize, pad, crop, flip, colors in a fixed order.
        scale: Range of the random resize, keeping the aspect ratio.
        base_hw: The size that the scale multiplies; None for each image's own. ``mmsegmentation`` takes the
            largest size of the image's proportions within it, ``authors`` its short side.
        crop_hw: Size of the random crop in pixels; a smaller picture is padded with ignored pixels.
        crop_max_ratio: A crop of which one class fills more is drawn again, up to ten times; 1 takes any.
        flip: Probability of mirroring.
        photometric: Probability of each distortion of brightness, contrast, saturation and hue.
        brightness: Largest shift in levels.
        contrast: Range of the factor on contrast and on saturation.
        hue_degrees: Largest turn of the hue.
    """

    model_config = CLOSED

    kind: Literal["mmsegmentation", "authors", "plain"] = "mmsegmentation"
    scale: Annotated[tuple[float, float], Field(strict=False)] = (0.5, 2.0)
    base_hw: Annotated[tuple[_Positive, _Positive] | None, Field(strict=False)] = None
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
        if self.kind == "plain" and self.base_hw is not None:
            raise ValueError("kind 'plain' scales each image's own size; leave base_hw out")
        return self


class OptimiserConfig(BaseModel):
    """The optimiser.

    Attributes:
        kind: ``sgd`` with momentum, or ``adamw``.
        lr: Learning rate at the start, after the warm-up.
        momentum: Momentum of SGD.
        weight_decay: Applied to every parameter by SGD, to weights of two axes and more by AdamW.
        head_lr_factor: Factor on the learning rate of both heads (10 in the paper, 1 in mmsegmentation).
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
    """The schedule of the learning rate.

    Attributes:
        power: Power of the polynomial in the share of steps that are left.
        eta_min: Lowest learning rate.
        warmup_steps: Number of steps over which the learning rate first rises linearly.
    """

    model_config = CLOSED

    power: float = Field(default=0.9, gt=0)
    eta_min: float = Field(default=1e-4, ge=0)
    warmup_steps: int = Field(default=0, ge=0)


class OhemConfig(BaseModel):
    """Online hard example mining in a loss; see :mod:`danet_train.training.objective.ohem`.

    Attributes:
        threshold: A pixel counts where the probability of its class is below; None takes the pixels of the
            greatest loss.
        min_kept: Least number of pixels that count in an image.
    """

    model_config = CLOSED

    threshold: float | None = Field(default=0.7, gt=0, le=1)
    min_kept: int = Field(default=100_000, ge=1)


class LossConfig(BaseModel):
    """The loss.

    Attributes:
        branch_weight: Weight of the losses of the two branches' own classifiers; that of their sum is 1.
        aux_weight: Weight of the auxiliary head's loss.
        mean_over: ``all`` divides by all pixels, ignored ones included (mmsegmentation's default);
            ``valid`` by those that count.
        class_balance: Each class weighs (median frequency / its frequency) to this power; 0 for equal
            weights, 1 for median frequency balancing (Eigen and Fergus 2015).
        label_stride: The loss uses the middle pixel of each cell of this many pixels a side. 3 makes the
            loss nine times cheaper, which is half of a step of a small network on a CPU.
        ohem: Counts the hard pixels of each classifier alone; None counts all.
    """

    model_config = CLOSED

    branch_weight: float = Field(default=1.0, ge=0)
    aux_weight: float = Field(default=0.4, ge=0)
    mean_over: Literal["all", "valid"] = "all"
    class_balance: float = Field(default=0.0, ge=0, le=1)
    label_stride: int = Field(default=1, ge=1, le=8)
    ohem: OhemConfig | None = None

    @field_validator("label_stride")
    @classmethod
    def _has_a_middle(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("label_stride must be odd, so that a middle pixel stands for each cell")
        return value


class LoopConfig(BaseModel):
    """The training loop.

    Attributes:
        evaluate_every: Number of steps after which the validation split is scored, and the best weights are
            kept; None scores it only at the end.
        save_every: Number of steps after which the state of the training is saved. It is also saved around
            each evaluation and when the training is interrupted.
        accumulate: Number of parts in which the batch of a step goes through the network, for less memory.
            The step is the same where batch statistics are frozen; else they are those of each part.
        frozen_batch_norm: Keep the running statistics as they are, and normalise with them; the weights and
            biases of batch norm are still trained. For fine-tuning, and for small batches.
        channels_last: Lay tensors out as (B, H, W, C) in memory, which convolutions are faster on; on a CPU
            not those of networks with fewer than 8 channels.
        compile: Compile the network with ``torch.compile``; needs a C++ compiler on a CPU.
        attention: ``plain`` keeps position attention's whole map of N x N positions; ``blockwise`` computes
            it again on the way back, a block of rows at a time, in memory that grows with N alone. The
            weights are the same, and so is the arithmetic but for its order.
        attention_rows: Number of rows in a block of ``blockwise``.
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
    """The fine-tuning of a checkpoint for INT8; without effect on a training from scratch.

    Attributes:
        steps: Number of steps; None for a tenth of the training's.
        lr_factor: Factor on the optimiser's learning rate, its floor included; there is no warm-up.
        scale_lr: Learning rate of the logarithms of the activations' scales, by Adam: at first a step changes
            a scale by this share. It falls with the weights' learning rate. 0 leaves the scales unchanged.
        frames: Number of frames of the training split, evenly chosen, not augmented, on which the first
            scales are found.
        percentile: Percentile of a frame's magnitudes that the first scales reach; 100 is the largest.
    """

    model_config = CLOSED

    steps: int | None = Field(default=None, ge=1)
    lr_factor: float = Field(default=0.01, gt=0, le=1)
    scale_lr: float = Field(default=0.005, ge=0, le=0.1)
    frames: int = Field(default=64, ge=1)
    percentile: float = Field(default=99.99, gt=50, le=100)


class EvaluationConfig(BaseModel):
    """The evaluation of a network; the default is mmsegmentation's for 512x1024: the whole image, once.

    Attributes:
        mode: ``whole`` shows the network the image at once, ``slide`` window by window.
        window_hw: Size of a window.
        stride_hw: Distance from a window to the next; None for two thirds of a window, rounded up: 513 for
            mmsegmentation's 769, 512 for the authors' 768.
        scales: Factors on the image's size; more than one is multi-scale evaluation.
        flip: Whether the mirror image is predicted too.
        base_hw: The short and the long side within which the image is resized, keeping its ratio, before
            ``scales``; e.g. (512, 2048) for ADE20K. ``authors`` use the long side alone. None keeps the
            image's own size.
        windows_at_once: Number of windows in one batch.
        protocol: Where the references differ. ``mmsegmentation``: the picture is resized in 8 bits, the last
            windows are moved inside it, logits are averaged over windows and softmax over test-time
            augmentations, and the mirror image is one of them. ``authors`` (MultiEvalModule): the normalised
            picture is resized with aligned corners, what sticks out is padded with black, each window is
            mirrored by itself, and exp of the sum of both logits is averaged over windows and added up over
            scales.
    """

    model_config = CLOSED

    mode: Literal["whole", "slide"] = "whole"
    window_hw: Annotated[tuple[_Positive, _Positive], Field(strict=False)] = (769, 769)
    stride_hw: Annotated[tuple[_Positive, _Positive] | None, Field(strict=False)] = None
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=8)], ...], Field(strict=False, min_length=1)] = (
        1.0,
    )
    flip: bool = False
    base_hw: Annotated[tuple[_Positive, _Positive] | None, Field(strict=False)] = None
    windows_at_once: int = Field(default=1, ge=1)
    protocol: Literal["mmsegmentation", "authors"] = "mmsegmentation"

    @property
    def stride(self) -> tuple[int, int]:
        """The stride in pixels, height and width."""
        height, width = self.window_hw
        return self.stride_hw or (-(-2 * height // 3), -(-2 * width // 3))

    @model_validator(mode="after")
    def _can_be_done(self) -> EvaluationConfig:
        if any(stride > window for stride, window in zip(self.stride, self.window_hw, strict=True)):
            raise ValueError(
                f"stride_hw {self.stride} must not pass window_hw {self.window_hw}: pixels between would "
                "stay unseen"
            )
        if len(set(self.scales)) != len(self.scales):
            raise ValueError("scales must differ from each other")
        if self.base_hw is not None and self.base_hw[0] > self.base_hw[1]:
            raise ValueError(f"base_hw must be the short side and then the long one, not {self.base_hw}")
        return self


class PublishedResult(BaseModel):
    """The scores that others report of a training by this recipe; not inherited from a base.

    Attributes:
        source: Name of the publisher.
        miou: mIoU on the validation split, in percent, at a single scale.
        multi_scale_miou: The same with several scales and flipped images.
    """

    model_config = CLOSED

    source: str = Field(min_length=1)
    miou: float = Field(gt=0, lt=100)
    multi_scale_miou: float | None = Field(default=None, gt=0, lt=100)
