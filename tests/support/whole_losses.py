"""The loss of one batch that is a step by itself, put together from the parts that training sums."""

from __future__ import annotations

from typing import Any

import torch

from danet_train.config.sections import LossConfig
from danet_train.model.danet import TrainingLogits
from danet_train.training.objective.losses import cross_entropy_part, divided, loss_parts, weighted_sum


def cross_entropy(logits: torch.Tensor, label: torch.Tensor, **options: Any) -> torch.Tensor:
    part = cross_entropy_part(logits, label, **options)
    return divided(part.total, part.divisor)


def total_loss(
    logits: TrainingLogits,
    label: torch.Tensor,
    config: LossConfig,
    *,
    align_corners: bool,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    parts = loss_parts(logits, label, config, align_corners=align_corners, weights=weights)
    return weighted_sum({name: divided(*part) for name, part in parts.items()}, config)
