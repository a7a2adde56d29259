"""The shape of a DANet, as one frozen and validated value."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from danet_train.config.validation import explain

BLOCKS_PER_LAYER: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""Residual blocks in layer1..layer4 by depth (He et al. 2016, Table 1)."""


def has_bottlenecks(depth: int) -> bool:
    """Whether a ResNet of this depth has bottlenecks (expansion 4), not basic blocks (expansion 1)."""
    return depth >= 50


class DANetConfig(BaseModel):
    """Everything that decides a DANet's modules and their shapes.

    Attributes:
        depth: Of the ResNet.
        num_classes: Channels of the logits.
        base_channels: Width of layer1 before the expansion; the layers double it.
        stem: ``deep`` is three 3x3 convolutions (ResNetV1c), ``plain`` one 7x7.
        stem_channels: Output of the stem; 64 in mmsegmentation, 128 in the authors' deep stem.
        multi_grid: Dilation of each block of layer4, e.g. (4, 8, 16) as in the paper's Table 2;
            None gives (2, 4, 4).
        head_channels: Width of both branches of the head.
        attention_channels: Width of PAM's queries and keys.
        aux_channels: Width of the auxiliary head on layer3, None (or 0) for no auxiliary head.
        pam: Whether the head has the position attention branch.
        cam: Whether the head has the channel attention branch.
        dropout: Probability of dropping a channel before each classifier.
        align_corners: How logits are upsampled. None is mmsegmentation's rule by input size: false for
            8k, true for 8k+1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    depth: Literal[18, 34, 50, 101] = 50
    num_classes: int = Field(default=19, ge=2, le=255)
    base_channels: int = Field(default=64, ge=1)
    stem: Literal["deep", "plain"] = "deep"
    stem_channels: int = Field(default=64, ge=2)
    multi_grid: tuple[int, ...] | None = Field(default=None, strict=False)
    head_channels: int = Field(default=512, ge=1)
    attention_channels: int = Field(default=64, ge=1)
    aux_channels: int | None = Field(default=256, ge=1)
    pam: bool = True
    cam: bool = True
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    align_corners: bool | None = None

    @field_validator("aux_channels", mode="before")
    @classmethod
    def _zero_is_none(cls, value: object) -> object:
        return None if value == 0 and value is not False else value

    @model_validator(mode="after")
    def _multi_grid_fits_layer4(self) -> DANetConfig:
        blocks = BLOCKS_PER_LAYER[self.depth][3]
        if self.multi_grid is not None and (len(self.multi_grid) != blocks or min(self.multi_grid) < 1):
            raise ValueError(
                f"multi_grid must hold {blocks} dilations >= 1, one a block of layer4 at depth {self.depth}"
            )
        return self

    @property
    def expansion(self) -> int:
        """Output channels of a residual block over its inner width."""
        return 4 if has_bottlenecks(self.depth) else 1

    @property
    def c3_channels(self) -> int:
        """Channels of layer3's output."""
        return self.base_channels * 4 * self.expansion

    @property
    def c4_channels(self) -> int:
        """Channels of layer4's output."""
        return self.base_channels * 8 * self.expansion


def make_config(source: str = "DANet", **options: Any) -> DANetConfig:  # noqa: ANN401 - pydantic checks them
    """A DANetConfig of ``options``.

    Raises:
        ConfigError: An option is unknown, of a wrong type or impossible; the message begins with ``source``.
    """
    try:
        return DANetConfig(**options)
    except ValidationError as error:
        raise explain(source, error) from error
