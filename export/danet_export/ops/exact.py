"""Float64 arithmetic that the references share, and channel attention as a whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


def softmax(energy: Float64Array) -> Float64Array:
    """Compute the softmax over the last axis."""
    shifted = np.exp(energy - energy.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def flat(array: npt.ArrayLike) -> Float64Array:
    """Reshape (B, C, h, w) to (B, C, N)."""
    values = np.asarray(array, np.float64)
    return values.reshape(values.shape[0], values.shape[1], -1)


def channel_attention(x: npt.ArrayLike, gamma: float) -> Float64Array:
    """Compute channel attention, eq. 3 and 4 of the paper with the sign of both reference codebases.

    Args:
        x: (B, C, h, w).
        gamma: Weight of the attended channels.

    Returns:
        (B, C, h, w).
    """
    residual = np.asarray(x, np.float64)
    features = flat(x)
    attention = softmax(-(features @ features.transpose(0, 2, 1)))  # (B, C, C)
    return np.asarray(gamma * (attention @ features).reshape(residual.shape) + residual)
