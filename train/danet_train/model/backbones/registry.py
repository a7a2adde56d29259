"""The backbones that are known. One is added as a module that states it and a line in ``BACKBONES``."""

from __future__ import annotations

from typing import Any, Final

from danet_train.errors import ConfigError
from danet_train.model.backbones.backbone import Backbone
from danet_train.model.backbones.resnet import ResNet

DEFAULT: Final = ResNet.name
"""That of configurations and checkpoints that name none."""

BACKBONES: tuple[Backbone[Any], ...] = (ResNet(),)


def find_backbone(name: str) -> Backbone[Any]:
    """The backbone of that name.

    Raises:
        ConfigError: There is none.
    """
    found = next((backbone for backbone in BACKBONES if backbone.name == name), None)
    if found is None:
        raise ConfigError(f"there is no backbone {name!r}; give one of: {backbones_help()}")
    return found


def backbones_help() -> str:
    """Every backbone by name, with what it is and its options."""
    said = (
        f"{backbone.name}, {backbone.help} (options: {', '.join(backbone.options.model_fields)})"
        for backbone in BACKBONES
    )
    return "; ".join(said)
