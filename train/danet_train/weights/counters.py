"""The counters of batch normalisation, which torch before 0.4.1 did not store."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_VARIANCE, _COUNTER = ".running_var", ".num_batches_tracked"

NO_COUNTERS = "num_batches_tracked is set to 0 throughout: the file is older than torch 0.4.1 and has none"
"""The note where :func:`with_counters` added them."""


def has_counters(state: Mapping[str, Tensor]) -> bool:
    """Return whether any batch normalisation has its counter, or ``state`` has no batch normalisation."""
    return any(name.endswith(_COUNTER) for name in state) or not any(
        name.endswith(_VARIANCE) for name in state
    )


def with_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` with a counter of 0 for each batch normalisation; none changes an output.

    Only for a file that has none at all: where some are there, a missing one is a missing tensor.
    """
    added = {
        name.removesuffix(_VARIANCE) + _COUNTER: torch.zeros((), dtype=torch.int64)
        for name in state
        if name.endswith(_VARIANCE)
    }
    return {**state, **added}
