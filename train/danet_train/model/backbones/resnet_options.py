"""Options, blocks and dilations of a dilated ResNet, which decide its modules and their shapes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from danet_train.model.backbones.backbone import BackboneOptions

BLOCKS_PER_LAYER: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""Residual blocks in layer1..layer4 by depth (He et al. 2016, Table 1)."""

_DILATIONS = (1, 1, 2, 4)


def has_bottlenecks(depth: int) -> bool:
    """Return whether a ResNet of this depth has bottlenecks (expansion 4), not basic blocks (expansion 1)."""
    return depth >= 50


def layer_dilations(depth: int, multi_grid: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """Return the dilation of every block of layer1..layer4.

    A dilated layer starts with half its dilation (``contract_dilation``): (1, 2, 2, ...) in layer3,
    (2, 4, 4) in layer4 unless ``multi_grid`` gives layer4's own.
    """
    dilations = []
    for blocks, dilation in zip(BLOCKS_PER_LAYER[depth], _DILATIONS, strict=True):
        first = dilation // 2 if dilation > 1 else dilation
        dilations.append((first, *(dilation,) * (blocks - 1)))
    if multi_grid is not None:
        dilations[3] = multi_grid
    return dilations


class ResNetOptions(BackboneOptions):
    """Everything that decides a ResNet's modules and their shapes.

    Attributes:
        depth: Number of its layers.
        base_channels: Width of layer1 before the expansion; the layers double it.
        stem: ``deep`` is three 3x3 convolutions (ResNetV1c), ``plain`` one 7x7.
        stem_channels: Output channels of the stem; 64 in mmsegmentation, 128 in the authors' deep stem.
        multi_grid: Dilation of each block of layer4, e.g. (4, 8, 16) as in the paper's Table 2;
            None gives (2, 4, 4).
    """

    depth: Literal[18, 34, 50, 101] = 50
    base_channels: int = Field(default=64, ge=1)
    stem: Literal["deep", "plain"] = "deep"
    stem_channels: int = Field(default=64, ge=2)
    multi_grid: tuple[int, ...] | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def _multi_grid_fits_layer4(self) -> ResNetOptions:
        blocks = BLOCKS_PER_LAYER[self.depth][3]
        if self.multi_grid is not None and (len(self.multi_grid) != blocks or min(self.multi_grid) < 1):
            raise ValueError(
                f"multi_grid must hold {blocks} dilations >= 1, one a block of layer4 at depth {self.depth}"
            )
        return self
