"""The optimiser, its parameter groups, its learning rate by step, and the norm of the gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from danet_train.config.sections import OptimiserConfig, ScheduleConfig
from danet_train.model.danet import DANet

Optimisers = Sequence[tuple[torch.optim.Optimizer, list[float]]]
"""Optimisers, each with a factor on the learning rate for each of its parameter groups."""


def make_optimiser(model: DANet, config: OptimiserConfig) -> tuple[torch.optim.Optimizer, list[float]]:
    """Return the optimiser, and a factor on the learning rate for each of its parameter groups."""
    groups: list[dict[str, object]] = []
    factors: list[float] = []
    for modules, factor in (
        ((model.backbone,), 1.0),
        ((model.decode_head, model.auxiliary_head), config.head_lr_factor),
    ):
        parameters = [p for module in modules if module is not None for p in module.parameters()]
        if config.kind == "sgd":
            split: Iterable[tuple[list[nn.Parameter], float]] = ((parameters, config.weight_decay),)
        else:
            split = (
                ([p for p in parameters if p.ndim >= 2], config.weight_decay),
                ([p for p in parameters if p.ndim < 2], 0.0),
            )
        for members, decay in split:
            groups.append({"params": members, "weight_decay": decay})
            factors.append(factor)
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum), factors
    return torch.optim.AdamW(groups, lr=config.lr), factors


def learning_rate(step: int, steps: int, base: float, config: ScheduleConfig) -> float:
    """Return the learning rate of step ``step`` (0 is the first) of ``steps``.

    ``(base - eta_min) * (1 - step / steps) ** power + eta_min``, as mmsegmentation's poly policy; the
    warm-up multiplies it by ``(step + 1) / (warmup_steps + 1)`` until it is over.
    """
    floor = min(config.eta_min, base)
    rate: float = (base - floor) * (1 - step / steps) ** config.power + floor
    if step < config.warmup_steps:
        rate *= (step + 1) / (config.warmup_steps + 1)
    return rate


def set_learning_rate(optimisers: Optimisers, lr: float) -> None:
    """Give every parameter group its factor of ``lr``."""
    for optimiser, factors in optimisers:
        for group, factor in zip(optimiser.param_groups, factors, strict=True):
            group["lr"] = lr * factor


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float | None) -> Tensor:
    """Return the norm of all gradients; where it is above ``largest``, scale them down to it."""
    held = list(parameters)
    if largest is not None:
        return nn.utils.clip_grad_norm_(held, largest)
    return nn.utils.get_total_norm([p.grad for p in held if p.grad is not None])
