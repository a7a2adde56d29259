"""The dilated ResNet as a backbone, and how its options are read off a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from danet_train.errors import CheckpointError
from danet_train.model.backbones.backbone import Backbone, Channels, StoredTensors
from danet_train.model.backbones.resnet_options import BLOCKS_PER_LAYER, ResNetOptions, has_bottlenecks

if TYPE_CHECKING:
    from torch import nn


class ResNet(Backbone[ResNetOptions]):
    """Mmsegmentation's ResNetV1c at output stride 8."""

    name = "resnet"
    help = f"a dilated ResNet-{', -'.join(str(depth) for depth in BLOCKS_PER_LAYER)}"
    options = ResNetOptions

    def channels(self, options: ResNetOptions) -> Channels:
        """Return the channels of layer3 and layer4."""
        expansion = 4 if has_bottlenecks(options.depth) else 1
        return Channels(options.base_channels * 4 * expansion, options.base_channels * 8 * expansion)

    def build(self, options: ResNetOptions) -> nn.Module:
        """Build a :class:`danet_train.model.backbones.resnet_network.ResNetV1c`."""
        from danet_train.model.backbones.resnet_network import ResNetV1c

        return ResNetV1c(options)

    def label(self, options: ResNetOptions) -> str:
        """Return a name such as ``R50``."""
        return f"R{options.depth}"

    def read_options(self, tensors: StoredTensors, stated: Mapping[str, Any]) -> dict[str, Any]:
        """Read all options off names and shapes but ``multi_grid``, which no tensor shows.

        Raises:
            CheckpointError: The blocks fit no depth.
        """
        deep = tensors.has("backbone.stem.")
        return {
            "depth": _depth(tensors),
            "base_channels": tensors.width("backbone.layer1.0.conv1.weight"),
            "stem": "deep" if deep else "plain",
            "stem_channels": tensors.width("backbone.stem.6.weight" if deep else "backbone.conv1.weight"),
            "multi_grid": stated.get("multi_grid"),
        }


def _depth(tensors: StoredTensors) -> int:
    bottlenecks = "backbone.layer1.0.conv3.weight" in tensors.names
    blocks = [0, 0, 0, 0]
    for name in tensors.names:
        if match := re.match(r"backbone\.layer([1-4])\.(\d+)\.", name):
            layer = int(match[1]) - 1
            blocks[layer] = max(blocks[layer], int(match[2]) + 1)
    for depth, expected in BLOCKS_PER_LAYER.items():
        if tuple(blocks) == expected and has_bottlenecks(depth) == bottlenecks:
            return depth
    if not any(blocks):
        tensors.width("backbone.layer1.0.conv1.weight")
    raise CheckpointError(
        f"the backbone has {blocks} {'bottlenecks' if bottlenecks else 'basic blocks'} in its layers; "
        f"expected a ResNet-{', -'.join(str(depth) for depth in BLOCKS_PER_LAYER)}"
    )
