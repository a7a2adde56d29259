"""The loss of one batch that is an update by itself, put together from the parts that training sums."""

from __future__ import annotations

from danet_train.training.objective.losses import cross_entropy_part, divided, loss_parts, weighted_sum


def cross_entropy(logits, label, **options):
    part = cross_entropy_part(logits, label, **options)
    return divided(part.total, part.divisor)


def total_loss(logits, label, config, *, align_corners, weights=None):
    parts = loss_parts(logits, label, config, align_corners=align_corners, weights=weights)
    return weighted_sum({name: divided(*part) for name, part in parts.items()}, config)
