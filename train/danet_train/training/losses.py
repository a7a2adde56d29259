"""The loss of DANet: cross-entropy on each classifier, summed."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from danet_train.classes import IGNORE
from danet_train.model.danet import TrainingLogits
from danet_train.training.config import LossConfig


def cross_entropy(logits: Tensor, label: Tensor, *, mean_over: str, align_corners: bool) -> Tensor:
    """Cross-entropy of logits upsampled to the label.

    Args:
        logits: (B, C, h, w) float.
        label: (B, H, W) int64 train ids, 255 ignored.
        mean_over: ``all`` divides the sum by B * H * W, as mmsegmentation does with its default
            ``avg_non_ignore=False``; ``valid`` by the pixels that are not ignored (at least one).
        align_corners: Of the bilinear upsampling.

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    full = F.interpolate(logits, size=label.shape[1:], mode="bilinear", align_corners=align_corners)
    total = F.cross_entropy(full, label, ignore_index=IGNORE, reduction="sum")
    count = label.numel() if mean_over == "all" else int((label != IGNORE).sum().clamp(min=1))
    return total / count


def total_loss(logits: TrainingLogits, label: Tensor, config: LossConfig, *, align_corners: bool) -> Tensor:
    """The weighted sum over the classifiers that exist (Fu et al. 2019, section 3.4)."""
    weighted = [
        (1.0, logits.fused),
        (config.branch_weight, logits.pam),
        (config.branch_weight, logits.cam),
        (config.aux_weight, logits.aux),
    ]
    loss = label.new_zeros((), dtype=logits.fused.dtype)
    for weight, head in weighted:
        if head is not None and weight:
            part = cross_entropy(head, label, mean_over=config.mean_over, align_corners=align_corners)
            loss = loss + weight * part
    return loss
