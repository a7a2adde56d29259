"""Float64 arithmetic that the references share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


def softmax(energy: Float64Array) -> Float64Array:
    """Softmax over the last axis."""
    shifted = np.exp(energy - energy.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def flat(array: npt.ArrayLike) -> Float64Array:
    """(B, C, h, w) as (B, C, N)."""
    values = np.asarray(array, np.float64)
    return values.reshape(values.shape[0], values.shape[1], -1)
