"""The two attention modules of DANet (Fu et al., CVPR 2019, sections 3.2 and 3.3).

Names and arithmetic are those of mmsegmentation's ``DAHead`` and of the authors' code, which agree.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from danet_train.model.blockwise_attention import blockwise_context, energies


class Scale(nn.Module):
    """One learned factor, ``scale`` of shape (), that starts at 0: the attention fades in during training."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``scale * x``, of the shape of ``x``."""
        return self.scale * x


class PositionAttention(nn.Module):
    """PAM: every position gathers from all similar positions (eq. 1 and 2).

    The softmax is over the keys and its argument is **not** divided by sqrt(d), unlike a transformer's.
    The map has (H * W)^2 entries an image; the exported model computes the same without storing it, and so
    does training where ``block_rows`` is set.

    Attributes:
        block_rows: Rows of the map at once; None for the whole map.
    """

    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        self.block_rows: int | None = None
        self.query_project = nn.Conv2d(channels, attention_channels, 1)
        self.key_project = nn.Conv2d(channels, attention_channels, 1)
        self.value_project = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        query = self.query_project(x).flatten(2).transpose(1, 2)  # (B, N, d), N = H * W
        key = self.key_project(x).flatten(2)  # (B, d, N)
        value = self.value_project(x).flatten(2)  # (B, C, N)
        if self.block_rows is not None:
            context = blockwise_context(query, key, value, self.block_rows)  # (B, C, N)
        else:
            attention = torch.softmax(energies(query, key), dim=-1)  # (B, N, N), eq. 1: a row is a position's
            context = value @ attention.to(value.dtype).transpose(1, 2)  # (B, C, N), eq. 2
        out: Tensor = self.gamma(context.reshape_as(x)) + x
        return out


class ChannelAttention(nn.Module):
    """CAM: every channel gathers from all channels (eq. 3 and 4).

    The paper's eq. 3 prints softmax(E); both codebases take softmax(rowmax(E) - E) = softmax(-E), and
    published weights need that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        flat = x.flatten(2)  # (B, C, N)
        energy = energies(flat, flat.transpose(1, 2))  # (B, C, C)
        attention = torch.softmax(energy.amax(dim=-1, keepdim=True) - energy, dim=-1)  # (B, C, C)
        context = attention.to(flat.dtype) @ flat  # (B, C, N), eq. 4
        out: Tensor = self.gamma(context.reshape_as(x)) + x
        return out


def use_blockwise_attention(model: nn.Module, rows: int) -> None:
    """Let every position attention of ``model`` compute ``rows`` rows of its map at a time."""
    for module in model.modules():
        if isinstance(module, PositionAttention):
            module.block_rows = rows
