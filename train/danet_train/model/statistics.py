"""Batch norm's running statistics in training."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze_statistics(model: nn.Module) -> None:
    """Let every batch norm of a network in train mode normalise with its running statistics, unchanged.

    Their weights and biases are trained as before. ``model.train()`` undoes it.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
