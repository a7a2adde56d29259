"""PositionAttention a slice of queries at a time, for sizes whose N x N map is too large to hold.

Every inner tensor of the operator's body is shown in parts under the body's own names, so that what is
measured here and what is measured node by node is the same. Only the arithmetic's order differs. It is slow:
at 1024x2048 with 512 channels one slice of 256 took 1.4 s on a busy core, a frame some six minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

SLICE_VALUES: Final = 2**22
"""Energies held at once: 16 MiB in FP32, 128 of 32768 rows at 1024x2048."""

FloatArray = npt.NDArray[np.float32]

Store = Callable[[str, FloatArray], FloatArray]
"""Takes an inner tensor's name and computed values, gives the values as they are stored: rounded, or not."""


def attend_in_slices(
    q: FloatArray,
    k: FloatArray,
    v: FloatArray,
    x: FloatArray,
    store: Store,
    slice_values: int = SLICE_VALUES,
) -> FloatArray:
    """softmax(Q^T K) V + x without the whole map; [1, eq. 1 and 2] of ``danet_export.ops.attention_ops``.

    Args:
        q: Query, (1, d_qk, h, w).
        k: Key, as the query.
        v: Value, (1, d_v, h, w).
        x: Residual, as the value.
        store: Is given every tensor of the body by its name there, ``danet_pa_y`` for the result.
        slice_values: Energies held at once.

    Returns:
        (1, d_v, h, w), as stored.
    """
    query, key, value = (
        store(f"danet_pa_{name}3", np.ascontiguousarray(array[0].reshape(array.shape[1], -1)))
        for name, array in (("q", q), ("k", k), ("v", v))
    )  # (d, N)
    query = store("danet_pa_q32", query)
    key = store("danet_pa_k32", key)
    query_rows = store("danet_pa_qt", np.ascontiguousarray(query.T))  # (N, d_qk)
    tokens = query.shape[1]
    context = np.empty((value.shape[0], tokens), np.float32)
    rows = max(1, slice_values // tokens)
    for start in range(0, tokens, rows):
        part = slice(start, start + rows)
        energy = store("danet_pa_energy", _product(query_rows[part], key))  # (rows, N)
        attention = _softmax(energy)
        attention = store("danet_pa_map", store("danet_pa_map32", attention))
        attention = store("danet_pa_mapt", attention)
        context[:, part] = store("danet_pa_context3", _product(value, attention.T))
    result = store("danet_pa_context", context.reshape(x.shape))
    return store("danet_pa_y", result + x)


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(left @ right)


def _softmax(energy: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):  # of a query or a key that is infinite already
        weights = np.exp(energy - energy.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))
