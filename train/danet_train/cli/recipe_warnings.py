"""Warnings before a training that cannot become what its configuration promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from danet_train.training.config import TrainConfig
    from danet_train.training.distributed import World


def recipe_warnings(config: TrainConfig, name: str, world: World, *, begins: bool) -> list[str]:
    """Return what a published configuration lacks here, and what that means.

    Args:
        config: The settings.
        name: Name of the configuration, as the user gave it.
        world: The processes that train together.
        begins: Whether the training starts from the backbone's weights, and not from a state or checkpoint.
    """
    from danet_train.training.distributed import pick_device

    if config.published is None or not world.is_main:
        return []
    score = f"{config.published.miou:.2f}"
    warnings = []
    if begins and config.backbone_weights is None:
        warnings.append(
            f"{name} reached its {score} mIoU from ImageNet's weights, and none are given: this training "
            "begins with random ones, and will score far lower; give backbone_weights=FILE"
        )
    if pick_device(config.device, world).type == "cpu":
        height, width = config.augmentation.crop_hw
        warnings.append(
            f"{name} is a recipe for GPUs, and this trains on the CPU: {config.steps} steps of "
            f"{config.batch_size} crops of {height}x{width} take weeks to months; camvid_r18_small is for one"
        )
    return warnings
