"""The loss of DANet: cross-entropy on each classifier, summed.

A classifier's loss is a sum over pixels, and a divisor. Both are kept apart
(:class:`Part`) until the divisor of the whole step is known: that of all parts of an accumulated batch, and
of all processes that train together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from danet_train.classes import IGNORE
from danet_train.config.sections import LossConfig, OhemConfig
from danet_train.model.danet import TrainingLogits
from danet_train.training.objective.ohem import hard_pixels

_SMALLEST_DIVISOR = 1e-6
"""Keeps the loss 0, not NaN, where every pixel is ignored."""


class Part(NamedTuple):
    """One classifier's loss on some images.

    Attributes:
        total: Scalar, the sum over the pixels that count.
        divisor: Scalar, the :func:`pixel_count` of the label.
    """

    total: Tensor
    divisor: Tensor


def class_weights(pixels: npt.NDArray[np.int64], power: float) -> Tensor:
    """Return the weight of each class in the loss.

    Args:
        pixels: (C,) count of each class in the training set.
        power: 0 for equal weights, 1 for median frequency balancing (Eigen and Fergus 2015, section 6.3.2).

    Returns:
        (C,) float32, (median / count) ** power, 1 for a class that does not occur.
    """
    present = pixels > 0
    weights = np.ones(len(pixels), np.float32)
    if power and present.any():
        weights[present] = (np.median(pixels[present]) / pixels[present]) ** power
    return torch.from_numpy(weights)


def middle_pixels(label: Tensor, stride: int) -> Tensor:
    """(B, H, W) -> (B, H // stride, W // stride): the middle pixel of each ``stride`` x ``stride`` cell."""
    height, width = (size // stride * stride for size in label.shape[1:])
    return label[:, stride // 2 : height : stride, stride // 2 : width : stride]


def pixel_count(label: Tensor, mean_over: Literal["all", "valid"], weights: Tensor | None = None) -> Tensor:
    """Return the divisor of a sum over the pixels of ``label``.

    Args:
        label: (B, H, W) int64 train ids, 255 ignored.
        mean_over: ``all`` counts every pixel, as mmsegmentation does with its default
            ``avg_non_ignore=False``; ``valid`` those that are not ignored.
        weights: (C,) weight of each class, None for 1; ``valid`` then sums the pixels' weights.

    Returns:
        A scalar on the label's device; counts over several labels add up.
    """
    if mean_over == "all":
        return torch.tensor(float(label.numel()), device=label.device)
    valid = label[label != IGNORE]
    if weights is None:
        return torch.tensor(float(valid.numel()), device=label.device)
    return weights[valid].sum()


def cross_entropy_part(
    logits: Tensor,
    label: Tensor,
    *,
    mean_over: Literal["all", "valid"],
    align_corners: bool,
    weights: Tensor | None = None,
    ohem: OhemConfig | None = None,
) -> Part:
    """Compute the cross-entropy of logits upsampled to the label, not yet divided.

    Args:
        logits: (B, C, h, w) float of any precision; the loss itself is computed in float32 or better.
        label: (B, H, W) int64 train ids, 255 ignored.
        mean_over: The pixels that are counted, as in :func:`pixel_count`.
        align_corners: Whether the bilinear upsampling aligns corners.
        weights: (C,) weight of each class, None for 1.
        ohem: Sums the hard pixels alone; the divisor stays.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    full = F.interpolate(logits, size=label.shape[1:], mode="bilinear", align_corners=align_corners)
    summed = label if ohem is None else label.masked_fill(~hard_pixels(full, label, ohem, weights), IGNORE)
    total = F.cross_entropy(full, summed, weight=weights, ignore_index=IGNORE, reduction="sum")
    return Part(total, pixel_count(label, mean_over, weights))


def divided(total: Tensor, divisor: Tensor) -> Tensor:
    """Return ``total / divisor``, 0 where no pixel counts."""
    return total / divisor.to(total).clamp(min=_SMALLEST_DIVISOR)


def head_weights(config: LossConfig) -> dict[str, float]:
    """Return the weight of each classifier's loss by its name in :class:`TrainingLogits`."""
    return {
        "fused": 1.0,
        "pam": config.branch_weight,
        "cam": config.branch_weight,
        "aux": config.aux_weight,
    }


def loss_parts(
    logits: TrainingLogits,
    label: Tensor,
    config: LossConfig,
    *,
    align_corners: bool,
    weights: Tensor | None = None,
) -> dict[str, Part]:
    """Return the loss of each classifier that exists and has a weight, by its name."""
    label = middle_pixels(label, config.label_stride)
    return {
        name: cross_entropy_part(
            getattr(logits, name),
            label,
            mean_over=config.mean_over,
            align_corners=align_corners,
            weights=weights,
            ohem=config.ohem,
        )
        for name, weight in head_weights(config).items()
        if weight and getattr(logits, name) is not None
    }


def weighted_sum(losses: Mapping[str, Tensor], config: LossConfig) -> Tensor:
    """Return the sum of the classifiers' divided losses, weighted by name (Fu et al. 2019, section 3.4)."""
    weight_of = head_weights(config)
    total = torch.zeros((), device=losses["fused"].device)
    for name, loss in losses.items():
        total = total + weight_of[name] * loss
    return total
