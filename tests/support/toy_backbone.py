"""A backbone as somebody would add one: this module, and a line in ``BACKBONES``."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pydantic import Field

from danet_train.model.backbones.backbone import Backbone, BackboneOptions, Channels

if TYPE_CHECKING:
    from torch import Tensor, nn


class ToyOptions(BackboneOptions):
    """Attributes: width of both outputs."""

    width: int = Field(default=16, ge=1)


class Toy(Backbone[ToyOptions]):
    """Three convolutions of stride 2."""

    name = "toy"
    help = "three convolutions"
    options = ToyOptions

    def channels(self, options: ToyOptions) -> Channels:
        return Channels(options.width, options.width)

    def build(self, options: ToyOptions) -> nn.Module:
        from torch import nn

        class ThreeConvolutions(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                widths = (3, options.width, options.width, options.width)
                self.steps = nn.ModuleList(
                    nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
                    for a, b in itertools.pairwise(widths)
                )

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                for step in self.steps:
                    x = step(x)
                return x, x

        return ThreeConvolutions()
