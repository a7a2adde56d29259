"""The loss of DANet: cross-entropy on each classifier, summed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from danet_train.classes import IGNORE
from danet_train.model.danet import TrainingLogits
from danet_train.training.sections import LossConfig


def class_weights(pixels: npt.NDArray[np.int64], power: float) -> Tensor:
    """The weight of each class in the loss.

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


def cross_entropy(
    logits: Tensor, label: Tensor, *, mean_over: str, align_corners: bool, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of logits upsampled to the label.

    Args:
        logits: (B, C, h, w) float of any precision; the loss itself is computed in float32.
        label: (B, H, W) int64 train ids, 255 ignored.
        mean_over: ``all`` divides the sum by B * H * W, as mmsegmentation does with its default
            ``avg_non_ignore=False``; ``valid`` by the pixels that are not ignored (at least one).
        align_corners: Of the bilinear upsampling.
        weights: (C,) of each class, None for 1; ``valid`` then divides by the sum of the pixels' weights.

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    full = F.interpolate(logits.float(), size=label.shape[1:], mode="bilinear", align_corners=align_corners)
    total = F.cross_entropy(full, label, weight=weights, ignore_index=IGNORE, reduction="sum")
    if mean_over == "all":
        return total / label.numel()
    valid = label[label != IGNORE]
    count = torch.tensor(float(valid.numel())) if weights is None else weights[valid].sum()
    return total / count.to(total.device).clamp(min=1e-6)


def total_loss(
    logits: TrainingLogits,
    label: Tensor,
    config: LossConfig,
    *,
    align_corners: bool,
    weights: Tensor | None = None,
) -> Tensor:
    """The weighted sum over the classifiers that exist (Fu et al. 2019, section 3.4)."""
    weighted = [
        (1.0, logits.fused),
        (config.branch_weight, logits.pam),
        (config.branch_weight, logits.cam),
        (config.aux_weight, logits.aux),
    ]
    label = middle_pixels(label, config.label_stride)
    loss = torch.zeros((), device=label.device)
    for weight, head in weighted:
        if head is not None and weight:
            part = cross_entropy(
                head, label, mean_over=config.mean_over, align_corners=align_corners, weights=weights
            )
            loss = loss + weight * part
    return loss
