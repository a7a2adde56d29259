"""Position attention for training in memory that grows with N, not with N x N.

The map is never whole: a block of its rows is computed, used, and dropped; on the way back it is computed
again from the logarithm of each row's sum. That is the recomputation of FlashAttention (Dao et al. 2022,
section 3.1) over blocks of rows alone, and without 1/sqrt(d), which DANet does not have.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def energies(query: Tensor, key: Tensor) -> Tensor:
    """Compute ``query @ key``; in float32 instead of float16, whose range it leaves without a 1/sqrt(d).

    Args:
        query: (B, n, d).
        key: (B, d, N).

    Returns:
        (B, n, N). A sum of a hundred thousand is common in channel attention, and float16 ends at 65504.
    """
    if _product_dtype(query) != torch.float16:
        return query @ key
    with torch.autocast(query.device.type, enabled=False):
        return query.float() @ key.float()


def blockwise_context(query: Tensor, key: Tensor, value: Tensor, rows: int) -> Tensor:
    """Compute ``value @ softmax(query @ key).T``, differentiable once, without a tensor of N x N.

    The softmax is in float32, in float64 for float64. Products are in the operands' precision, and in that
    of autocast where it is on; the energies as :func:`energies` says.

    Args:
        query: (B, N, d).
        key: (B, d, N).
        value: (B, C, N).
        rows: Rows of the map at once; the last block is smaller where N is no multiple.

    Returns:
        (B, C, N), of the dtype of ``value``, or autocast's.
    """
    dtype = _product_dtype(value)
    with torch.autocast(value.device.type, enabled=False):
        context: Tensor = _BlockwiseContext.apply(query.to(dtype), key.to(dtype), value.to(dtype), rows)  # type: ignore[no-untyped-call]
    return context


def _product_dtype(operand: Tensor) -> torch.dtype:
    """Return the dtype of a product of ``operand``: its own, or that of autocast."""
    kind = operand.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return operand.dtype


class _BlockwiseContext(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rows: int) -> Tensor:  # noqa: ANN401
        context = torch.empty_like(value)
        log_sums = []
        for block in _blocks(query.shape[1], rows):
            energy = _wide(energies(query[:, block], key))  # (B, n, N)
            log_sum = energy.logsumexp(dim=-1, keepdim=True)  # (B, n, 1)
            weight = energy.sub_(log_sum).exp_().to(value.dtype)
            context[:, :, block] = value @ weight.transpose(1, 2)  # (B, C, n)
            log_sums.append(log_sum)
        ctx.save_for_backward(query, key, value, torch.cat(log_sums, dim=1))
        ctx.rows = rows
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # noqa: ANN401
        query, key, value, log_sums = ctx.saved_tensors
        with torch.autocast(value.device.type, enabled=False):
            d_query = torch.empty_like(query)
            d_key, d_value = torch.zeros_like(_wide(key)), torch.zeros_like(_wide(value))
            for block in _blocks(query.shape[1], ctx.rows):
                weight = _wide(energies(query[:, block], key)).sub_(log_sums[:, block]).exp_()  # (B, n, N)
                d_out = above[:, :, block]  # (B, C, n)
                d_value += d_out @ weight.to(value.dtype)
                d_weight = _wide(d_out.transpose(1, 2) @ value)  # (B, n, N)
                # The softmax's derivative: a row's weights times the distance from the row's mean.
                mean = (d_weight * weight).sum(dim=-1, keepdim=True)
                d_energy = d_weight.sub_(mean).mul_(weight).to(query.dtype)
                d_query[:, block] = d_energy @ key.transpose(1, 2)
                d_key += query[:, block].transpose(1, 2) @ d_energy
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), None


def _blocks(count: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]


def _wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 where it is narrower."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
