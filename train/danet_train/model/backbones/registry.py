"""The known backbones. One is added as a module and a line in ``BACKBONES``."""

from __future__ import annotations

from typing import Any, Final

from danet_train.errors import ConfigError
from danet_train.model.backbones.backbone import Backbone
from danet_train.model.backbones.resnet import ResNet

DEFAULT: Final = ResNet.name
"""The backbone of configurations and checkpoints that name none."""

BACKBONES: tuple[Backbone[Any], ...] = (ResNet(),)


def find_backbone(name: str) -> Backbone[Any]:
    """Return the backbone of that name.

    Raises:
        ConfigError: There is none.
    """
    found = next((backbone for backbone in BACKBONES if backbone.name == name), None)
    if found is None:
        raise ConfigError(f"there is no backbone {name!r}; give one of: {backbones_help()}")
    return found


def backbones_help() -> str:
    """Return every backbone by name, with its description and its options."""
    descriptions = (
        f"{backbone.name}, {backbone.help} (options: {', '.join(backbone.options.model_fields)})"
        for backbone in BACKBONES
    )
    return "; ".join(descriptions)
