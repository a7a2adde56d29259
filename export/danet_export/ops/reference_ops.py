"""The custom operators in NumPy float64, written as literally as the paper's equations.

These are the truth that function bodies and kernels are compared with; they store the full maps and are slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from danet_export.ops.attention_ops import slice_length

Float64Array = npt.NDArray[np.float64]


def softmax(energy: Float64Array) -> Float64Array:
    """Softmax over the last axis."""
    shifted = np.exp(energy - energy.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def position_attention(
    q: npt.ArrayLike, k: npt.ArrayLike, v: npt.ArrayLike, x: npt.ArrayLike
) -> Float64Array:
    """Position attention, eq. 1 and 2 of the paper, gamma already in ``v``.

    Args:
        q: Query, (B, d_qk, h, w).
        k: Key, (B, d_qk, h, w).
        v: Value, (B, d_v, h, w).
        x: Residual, (B, d_v, h, w).

    Returns:
        (B, d_v, h, w): every position is the sum of all positions' values, weighted by
        ``softmax_i(q_j . k_i)``, plus the residual.
    """
    query, key, value = (_flat(array) for array in (q, k, v))
    attention = softmax(query.transpose(0, 2, 1) @ key)  # (B, N, N), row j attends to all i
    context = value @ attention.transpose(0, 2, 1)  # (B, d_v, N)
    residual = np.asarray(x, np.float64)
    return np.asarray(context.reshape(residual.shape) + residual)


def channel_attention(x: npt.ArrayLike, gamma: float) -> Float64Array:
    """Channel attention, eq. 3 and 4 of the paper with the sign of both reference codebases.

    Args:
        x: (B, C, h, w).
        gamma: Weight of the attended channels.

    Returns:
        (B, C, h, w).
    """
    residual = np.asarray(x, np.float64)
    flat = _flat(x)
    attention = softmax(-(flat @ flat.transpose(0, 2, 1)))  # (B, C, C)
    return np.asarray(gamma * (attention @ flat).reshape(residual.shape) + residual)


def channel_energy(x: npt.ArrayLike, slices: int) -> Float64Array:
    """X X^T of eq. 3 in partial sums.

    Args:
        x: (B, C, h, w).
        slices: S; the positions are cut into S runs of a multiple of 16 positions, the last one shorter.

    Returns:
        (B, S, C, C); its sum over S is X X^T.
    """
    flat = _flat(x)
    length = slice_length(flat.shape[2], slices)
    cut = (flat[:, :, start * length : (start + 1) * length] for start in range(slices))
    return np.stack([part @ part.transpose(0, 2, 1) for part in cut], axis=1)


def upsample_argmax(
    logits: npt.ArrayLike,
    size_hw: tuple[int, int],
    align_corners: bool,
    dtype: type[np.float32] | type[np.float64] = np.float64,
) -> Float64Array:
    """Bilinear upsampling to ``size_hw`` and the class with the largest logit, the lowest class at a tie.

    Args:
        logits: (B, C, h, w).
        size_hw: Height and width of the result.
        align_corners: Whether the outermost samples of both grids coincide, or their outer edges.
        dtype: Of the interpolation; each operation is rounded to it.

    Returns:
        (B, H, W), whole numbers.
    """
    values = np.asarray(logits, dtype)
    for axis, size in ((3, size_hw[1]), (2, size_hw[0])):
        values = _interpolate(values, axis, size, align_corners)
    return np.asarray(values.argmax(axis=1), np.float64)


def _flat(array: npt.ArrayLike) -> Float64Array:
    values = np.asarray(array, np.float64)
    return values.reshape(values.shape[0], values.shape[1], -1)


def _interpolate(values: npt.NDArray[Any], axis: int, size: int, align_corners: bool) -> npt.NDArray[Any]:
    """Positions are exact fractions of whole numbers; only the weights are rounded."""
    length = values.shape[axis]
    out = np.arange(size)
    if align_corners:
        numerator, denominator = out * (length - 1), max(1, size - 1)
    else:
        numerator, denominator = np.maximum((2 * out + 1) * length - size, 0), 2 * size
    low = np.minimum(numerator // denominator, length - 1)
    high = np.minimum(low + 1, length - 1)
    shape = [1] * values.ndim
    shape[axis] = size
    weight = ((numerator % denominator).astype(values.dtype) / values.dtype.type(denominator)).reshape(shape)
    one = values.dtype.type(1)
    return np.asarray(values.take(low, axis) * (one - weight) + values.take(high, axis) * weight)
