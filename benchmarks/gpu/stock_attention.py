"""Position attention as PyTorch offers it: eager, torch.compile, and scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.measurement import Candidate

V_HEADS = 8
"""Into which the split form cuts V: of d_v = 512 channels, heads as wide as the query."""


def eager(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    """The module as it is trained, in the type of its inputs; shapes as in ``cases.draw_attention``."""
    q, k, v = query.flatten(2).transpose(1, 2), key.flatten(2), value.flatten(2)
    return (v @ torch.softmax(q @ k, dim=-1).transpose(1, 2)).reshape(residual.shape) + residual


def fused(query: Tensor, key: Tensor, value: Tensor, residual: Tensor, heads: int) -> Tensor:
    """scaled_dot_product_attention, with V as ``heads`` heads that share Q and K."""
    q, k = (part.flatten(2).transpose(1, 2)[:, None].expand(-1, heads, -1, -1) for part in (query, key))
    split: Tensor = value.flatten(2).unflatten(1, (heads, -1))  # type: ignore[no-untyped-call]
    v = split.transpose(2, 3)  # (B, heads, N, d_v / heads)
    context = F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(2, 3)
    return context.reshape(residual.shape) + residual


def stock_candidates(inputs: tuple[Tensor, ...]) -> dict[str, Candidate]:
    """PyTorch's own ways; a backend of scaled_dot_product_attention raises where it does not take them."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    query, key, value, residual = inputs

    def on(backend: SDPBackend, heads: int) -> Candidate:
        def run() -> Tensor:
            with sdpa_kernel(backend):
                return fused(query, key, value, residual, heads)

        return run

    compiled: Callable[..., Tensor] = torch.compile(eager, dynamic=False)
    candidates: dict[str, Candidate] = {
        "eager": lambda: eager(*inputs),
        "torch.compile": lambda: compiled(*inputs),
    }
    for name, heads in (("sdpa", 1), ("sdpa split V", V_HEADS)):
        for backend in ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
            if hasattr(SDPBackend, backend):
                short = backend.split("_")[0].lower()
                candidates[f"{name} {short}"] = on(getattr(SDPBackend, backend), heads)
    return candidates
