"""The measured cases: DANet's own widths on Cityscapes, at three sizes, in two types; inputs and references.

Everything here runs on the CPU, so that a sanitizer watches our kernels and nothing else.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danet_export.graph.geometry import plan_geometry
from danet_export.graph.wrapper import operator_sizes
from danet_export.kernels.bundle_kernels import Problem
from danet_export.ops import channel_energy, upsample_argmax
from danet_runtime.bundle.operators import OPERATORS, Operator, energy_slices, padded_tokens
from danet_train.model.blockwise_attention import blockwise_context
from danet_train.model.config import DANetConfig

D_QK, D_V, CLASSES = 64, 512, 19
SIZES = {8192: (512, 1024), 9409: (769, 769), 32768: (1024, 2048)}
"""Height and width of the frame, by the number of positions N; 9409 is no multiple of anything useful."""
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
TOLERANCE = OPERATORS["PositionAttention"].tolerance
"""Largest relative error against float64, in the Frobenius norm; labels must be equal."""
ENERGY_SCALE = 0.5
"""Scale of query and key: energies of a deviation of 2."""
FEATURE_SCALE = 0.02
"""Scale of CAM's features: small enough that the softmax over channels is no selection."""
REFERENCE_ROWS = 512


def problem(tokens: int) -> Problem:
    """DANet's attention and upsampling at one of the sizes."""
    config = DANetConfig(attention_channels=D_QK, head_channels=D_V, num_classes=CLASSES)
    return operator_sizes(config, plan_geometry(SIZES[tokens]))


def draw_attention(tokens: int, dtype: torch.dtype, scale: float = ENERGY_SCALE) -> tuple[Tensor, ...]:
    """Query and key (1, d_qk, 1, N) of this deviation, value and residual (1, d_v, 1, N)."""
    query, key = (torch.randn(1, D_QK, 1, tokens).mul(scale).to(dtype) for _ in range(2))
    value, residual = (torch.randn(1, D_V, 1, tokens).to(dtype) for _ in range(2))
    return query, key, value, residual


def padded(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same inputs of attention with rows as an exported graph makes them, and NaN in the padding."""
    *rows, residual = inputs
    padding = padded_tokens(residual[0, 0].numel()) - residual[0, 0].numel()
    if not padding:
        return inputs
    return (*(F.pad(row.flatten(2), (0, padding), value=math.nan).unsqueeze(2) for row in rows), residual)


def draw_features(tokens: int, dtype: torch.dtype, scale: float = FEATURE_SCALE) -> Tensor:
    """CAM's features, (1, C, 1, N)."""
    return torch.randn(1, D_V, 1, tokens).mul(scale).to(dtype)


def draw_logits(tokens: int, dtype: torch.dtype) -> Tensor:
    """Logits at stride 8, (1, classes, h, w)."""
    sizes = problem(tokens)["UpsampleArgmax"]
    return torch.randn(1, CLASSES, sizes["logits_height"], sizes["logits_width"]).mul(4).to(dtype)


def attention_reference(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    """softmax(Q^T K) V + x in float64, some rows at a time; shaped as the residual."""
    q, k, v = (part.flatten(2).double() for part in (query, key, value))
    context = blockwise_context(q.transpose(1, 2), k, v, REFERENCE_ROWS)
    return context.reshape(residual.shape) + residual.double()


def energy_reference(features: Tensor, slices: int) -> Tensor:
    """Partial sums of X X^T in float64, (1, S, C, C)."""
    inputs = {"x": features.double().numpy()}
    return torch.from_numpy(channel_energy.reference(inputs, {"slices": slices}))


def labels_reference(logits: Tensor, tokens: int) -> Tensor:
    """Labels as FP32 NumPy finds them, (1, height, width)."""
    inputs = {"logits": logits.float().numpy()}
    return torch.from_numpy(upsample_argmax.reference(inputs, problem(tokens)["UpsampleArgmax"], np.float32))


def draw_and_solve(
    operator: Operator, tokens: int, dtype: torch.dtype, scale: float | None
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Fresh inputs of an operator, padded as its kernel takes them, and what float64 makes of them.

    Labels are FP32's.

    Args:
        operator: One of the three.
        tokens: N, one of ``SIZES``.
        dtype: Type of the inputs.
        scale: Deviation of what the energies are made of; the usual one where it is not given.
    """
    if operator == "PositionAttention":
        inputs = draw_attention(tokens, dtype, scale or ENERGY_SCALE)
        return padded(inputs), attention_reference(*inputs)
    if operator == "ChannelEnergy":
        features = draw_features(tokens, dtype, scale or FEATURE_SCALE)
        return (features,), energy_reference(features, energy_slices(tokens))
    logits = draw_logits(tokens, dtype)
    return (logits,), labels_reference(logits, tokens)
