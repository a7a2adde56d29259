"""The layers of an engine as the builder of TensorRT for RTX logs them, and what they hold at once.

With detailed profiling the builder logs every kernel with the tensors that it reads and writes. That the
engine's activation memory is the largest sum of the tensors that live at once is documented nowhere: the
benchmark that uses this writes both figures.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

ITEM_BYTES: Final = {
    "Float": 4,
    "Half": 2,
    "BFloat16": 2,
    "Int8": 1,
    "UInt8": 1,
    "Bool": 1,
    "Int32": 4,
    "Int64": 8,
}
CONVOLUTION: Final = "correlation"

_TENSOR = re.compile(r"\{ Name: ([^,]+), Dimensions: \[([\d,]*)\].*?Datatype: (\w+)")
_LAYER = re.compile(
    r"Name: (?P<name>[^,]+), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], Constants: \["
    r".*\], Outputs: \[(?P<outputs>.*?)\], TacticName"
)
_ACTIVATION_MEMORY = re.compile(r"Total Activation Memory: (\d+)")


@dataclass(frozen=True)
class Tensor:
    """A tensor that a layer reads or writes.

    Attributes:
        name: Unique in the engine.
        dtype: As TensorRT calls it.
        shape: Its dimensions.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Without padding."""
        return ITEM_BYTES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """A kernel of the engine; ``kind`` is :data:`CONVOLUTION` for a convolution."""

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Peak:
    """Where the most memory is taken: at which layer, how much, and by which tensors."""

    layer: str
    bytes: int
    tensors: tuple[Tensor, ...]


def read_layers(messages: Iterable[str]) -> list[Layer]:
    """The layers in the order in which they run.

    Raises:
        ValueError: A tensor of a type whose size is not known, or no layers at all: the builder was not asked
            for details.
    """
    text = "\n".join(messages)
    layers = [
        Layer(found["name"], found["kind"], _tensors(found["inputs"]), _tensors(found["outputs"]))
        for found in _LAYER.finditer(text)
    ]
    if not layers:
        raise ValueError(
            "expected a list of layers in the builder's log (profiling_verbosity DETAILED), got none"
        )
    return layers


def _tensors(text: str) -> tuple[Tensor, ...]:
    tensors = tuple(
        Tensor(name, dtype, tuple(int(side) for side in dims.split(",") if side))
        for name, dims, dtype in _TENSOR.findall(text)
    )
    unknown = {tensor.dtype for tensor in tensors} - ITEM_BYTES.keys()
    if unknown:
        raise ValueError(f"expected tensors of {', '.join(ITEM_BYTES)}; got {', '.join(sorted(unknown))}")
    return tensors


def activation_memory_bytes(messages: Iterable[str]) -> int:
    """The memory of all activations, as the builder states it.

    Raises:
        ValueError: It does not say.
    """
    for message in messages:
        if found := _ACTIVATION_MEMORY.search(message):
            return int(found[1])
    raise ValueError("expected 'Total Activation Memory' in the builder's log, got nothing of it")


def find_peak(layers: Sequence[Layer]) -> Peak:
    """The layer at which the tensors that some layer made, and this or a later one reads, are the largest."""
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    tensors: dict[str, Tensor] = {}
    for position, layer in enumerate(layers):
        for tensor in layer.outputs:
            made.setdefault(tensor.name, position)
        for tensor in (*layer.inputs, *layer.outputs):
            last[tensor.name] = position
            tensors[tensor.name] = tensor

    def live(position: int) -> list[Tensor]:
        return [tensors[name] for name, begun in made.items() if begun <= position <= last[name]]

    position = max(range(len(layers)), key=lambda place: sum(tensor.bytes for tensor in live(place)))
    held = sorted(live(position), key=lambda tensor: -tensor.bytes)
    return Peak(layers[position].name, sum(tensor.bytes for tensor in held), tuple(held))


def moved_bytes(layers: Sequence[Layer]) -> int:
    """All that the layers read and write, each tensor once a layer; weights do not count."""
    return sum(tensor.bytes for layer in layers for tensor in (*layer.inputs, *layer.outputs))


def convolution_types(layers: Sequence[Layer]) -> dict[str, int]:
    """How many convolutions read and write which types, as ``Int8 to Float``."""
    return dict(
        Counter(
            f"{layer.inputs[0].dtype} to {layer.outputs[0].dtype}"
            for layer in layers
            if layer.kind == CONVOLUTION
        )
    )
