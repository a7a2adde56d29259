"""Position attention a few rows at a time (the paper's eq. 1 and 2): the N x N map is never built."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from danet_train.model.attention import PositionAttention
from danet_train.model.blockwise_attention import blockwise_context

_BLOCK_VALUES = 2**24
"""Most weights in a block of rows: 64 MiB in float32. The whole map at 1024x2048 has 4 GiB."""
_BLOCKS = 16
"""Least number of blocks in which a map is computed."""


def attention_rows(attention: PositionAttention, x: Tensor, cells: Sequence[int]) -> Tensor:
    """Return the rows of eq. 1's softmax that belong to some positions: their weights on all positions.

    Args:
        attention: The position attention of the network.
        x: (1, C, h, w), the input of the attention.
        cells: Positions, as row * w + column.

    Returns:
        (len(cells), N) with N = h * w; each row is >= 0 and sums to 1.
    """
    chosen = x.flatten(2)[:, :, list(cells), None]  # (1, C, P, 1)
    key = attention.key_project(x).flatten(2)[0]  # (d, N)
    query = attention.query_project(chosen)[0, :, :, 0].T  # (P, d)
    return torch.softmax(query @ key, dim=-1)  # (P, N), not divided by sqrt(d)


def attend(attention: PositionAttention, x: Tensor) -> Tensor:
    """Compute ``attention(x)`` (eq. 2), a block of rows at a time.

    Args:
        attention: The position attention of the network.
        x: (1, C, h, w).

    Returns:
        (1, C, h, w): gamma times the gathered values, plus ``x``.
    """
    query = attention.query_project(x).flatten(2).transpose(1, 2)  # (1, N, d)
    key = attention.key_project(x).flatten(2)  # (1, d, N)
    value = attention.value_project(x).flatten(2)  # (1, C, N)
    positions = query.shape[1]
    block = max(1, min(_BLOCK_VALUES, positions * positions // _BLOCKS) // positions)
    context = blockwise_context(query, key, value, block)  # (1, C, N)
    out: Tensor = attention.gamma(context.reshape_as(x)) + x
    return out


def entropy(rows: Tensor) -> Tensor:
    """Return (P,) entropies of (P, N) weights, in nats: 0 for one position, log(N) for equal weights."""
    nats: Tensor = torch.special.entr(rows).sum(dim=-1)
    return nats
