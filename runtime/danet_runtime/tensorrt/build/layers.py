"""Count of the convolutions of an engine that run on INT8, from the builder's own list of its layers.

With detailed profiling the builder logs every layer of the finished engine with the types of its tensors; for
that it needs no GPU, so it is asked ahead of time too. The list of TensorRT for RTX 1.7 has been seen; that
of TensorRT itself is looked for in the same form, and where it has another, nothing is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from danet_runtime.errors import BackendError

LAYER_MARK: Final = "LayerType: "
"""Stands in every message of the builder's log that lists layers."""

_LAYER = re.compile(r"LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], (?:Constants|Outputs): \[")
_CONVOLUTION = re.compile(r"correlation|conv", re.IGNORECASE)
_INT8 = re.compile(r"\bint8\b", re.IGNORECASE)


class NoInt8Error(BackendError):
    """An engine of an INT8 variant computes nothing on INT8, whatever the form of its attention."""


class Convolutions(NamedTuple):
    """Convolutions of an engine: those that read INT8, and all."""

    int8: int
    total: int

    def __str__(self) -> str:
        return f"{self.int8} of {self.total} convolutions"


def count_convolutions(messages: Iterable[str]) -> Convolutions | None:
    """Count the convolutions that a builder's log lists; ``None`` where it lists none."""
    found = [
        _INT8.search(layer["inputs"]) is not None
        for message in messages
        for layer in _LAYER.finditer(message)
        if _CONVOLUTION.search(layer["kind"])
    ]
    return Convolutions(sum(found), len(found)) if found else None


def require_int8(found: Convolutions | None, promised: float | None) -> None:
    """Refuse an engine of an INT8 variant that computes no convolution on INT8.

    Args:
        found: Convolutions of the engine; ``None`` where the builder does not list them.
        promised: Share of convolution MACs that the bundle gives to INT8; ``None`` where it does not say.

    Raises:
        NoInt8Error: It shows convolutions, none of them on INT8.
    """
    if found is None or found.int8 or promised == 0:
        return
    share = (
        "" if promised is None else f", where the bundle gives {promised:.1%} of the convolution MACs to INT8"
    )
    raise NoInt8Error(
        f"the engine just built computes none of its {found.total} convolutions on INT8{share}; it is not "
        "kept: calibrate the bundle again with `danet calibrate`, or build fp16: `--backend BACKEND:fp16`"
    )
