"""The learning rate by step."""

from __future__ import annotations

from danet_train.config.sections import ScheduleConfig


def learning_rate(step: int, steps: int, base: float, config: ScheduleConfig) -> float:
    """The learning rate of update ``step`` (0 is the first) of ``steps``.

    ``(base - eta_min) * (1 - step / steps) ** power + eta_min``, as mmsegmentation's poly policy; the
    warm-up multiplies it by ``(step + 1) / (warmup_steps + 1)`` until it is over.
    """
    floor = min(config.eta_min, base)
    rate: float = (base - floor) * (1 - step / steps) ** config.power + floor
    if step < config.warmup_steps:
        rate *= (step + 1) / (config.warmup_steps + 1)
    return rate
