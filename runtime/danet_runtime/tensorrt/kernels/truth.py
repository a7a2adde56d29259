"""The results that a bundle's kernel must give for random inputs of its own sizes, at some places.

They are computed in float64 NumPy. A whole result would take minutes at 32768 positions; a few rows take a
second, and run through all of the inputs. The formulas are those of :mod:`danet_runtime.bundle.operators`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from danet_runtime.bundle.manifest import Kernel, KernelDtype
from danet_runtime.bundle.operators import OPERATORS, output_shape, slice_length

Bits = npt.NDArray[np.uint16]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

MOST_PLACES: Final = 16
_CHUNK: Final = 4096  # positions whose values are float64 at a time
_ENERGY_DEVIATION: Final = 4.0  # so that few of many positions count, and the context is not lost in a mean


class Trial:
    """Inputs for one kernel, and what they must become.

    Args:
        kernel: Its sizes and type.
        seed: Seed of the inputs and of the places.

    Attributes:
        inputs: Bits of each input, in the order of the kernel's parameters.
        output_shape: Shape of the output.
        output_type: Type of an element of the output; ``uint16`` stands for BF16.
    """

    def __init__(self, kernel: Kernel, seed: int = 0) -> None:
        spec = OPERATORS[kernel.operator]
        random = np.random.default_rng(seed)
        self._kernel = kernel
        shapes = _input_shapes(kernel)
        attributes = {name: kernel.shape[name] for name in spec.attributes}
        self.output_shape = output_shape(spec, shapes, attributes)
        self.output_type: Any = np.float32 if spec.output_type == "fp32" else _BITS[kernel.dtype]
        self.inputs: dict[str, Bits] = {}
        for name, shape in zip(spec.inputs, shapes, strict=True):
            drawn = random.standard_normal(shape, np.float32) * np.float32(_deviation(kernel, name))
            if kernel.operator == "PositionAttention":
                drawn[..., kernel.shape["tokens"] :] = np.nan  # in padding, which counts for nothing
            self.inputs[name] = encoded(drawn, kernel.dtype)
        extent = (
            self.output_shape[_AXIS[kernel.operator]]
            if kernel.operator != "PositionAttention"
            else (kernel.shape["tokens"])
        )
        ends = (0, extent // 2, extent - 1)
        drawn_places = random.choice(extent, min(extent, MOST_PLACES), replace=False)
        self._places: Places = np.unique([*ends, *drawn_places.tolist()])

    def error(self, output: npt.NDArray[Any]) -> float:
        """How far an output lies from the truth at the places, as the operator measures it; NaN for NaN."""
        kernel, spec = self._kernel, OPERATORS[self._kernel.operator]
        values = output if spec.output_type == "fp32" else decoded(output.view(np.uint16), kernel.dtype)
        truth = _TRUTHS[kernel.operator](
            {name: decoded(bits, kernel.dtype) for name, bits in self.inputs.items()}, kernel, self._places
        )
        flat = values.reshape(*values.shape[:2], -1) if kernel.operator == "PositionAttention" else values
        found = np.take(flat, self._places, axis=_AXIS[kernel.operator])
        return spec.error(found, truth)

    def unwritten(self, output: npt.NDArray[Any]) -> int:
        """Return how many elements of an output are as they were when all their bits were set."""
        unsigned = np.uint16 if output.dtype.itemsize == 2 else np.uint32
        return int(np.count_nonzero(output.view(unsigned) == np.iinfo(unsigned).max))


def tolerance_of(kernel: Kernel) -> float:
    """The largest error that a kernel may have; labels are interpolated in FP32 in every type."""
    spec = OPERATORS[kernel.operator]
    return spec.tolerance["fp32" if spec.counts_labels else kernel.dtype]


def encoded(values: Float32, dtype: KernelDtype) -> Bits:
    """Return the bits of values in FP16, or in BF16, which is rounded towards zero."""
    if dtype == "fp16":
        return values.astype(np.float16).view(np.uint16)
    return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)


def decoded(bits: Bits, dtype: KernelDtype) -> Float32:
    """Return the values of bits of FP16 or BF16."""
    if dtype == "fp16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


_BITS: Final[Mapping[str, Any]] = {"fp16": np.float16, "bf16": np.uint16}
_AXIS: Final[Mapping[str, int]] = {"PositionAttention": 2, "ChannelEnergy": 2, "UpsampleArgmax": 1}


def _input_shapes(kernel: Kernel) -> list[tuple[int, ...]]:
    size = kernel.shape
    if kernel.operator == "PositionAttention":
        row = size.get("pitch", size["tokens"])
        narrow, wide = ((size["batch"], size[channels], 1, row) for channels in ("d_qk", "d_v"))
        return [narrow, narrow, wide, (*wide[:3], size["tokens"])]
    if kernel.operator == "ChannelEnergy":
        return [(size["batch"], size["channels"], 1, size["tokens"])]
    return [(size["batch"], size["classes"], size["logits_height"], size["logits_width"])]


def _deviation(kernel: Kernel, name: str) -> float:
    if name in ("q", "k"):
        return float(_ENERGY_DEVIATION**0.5 / kernel.shape["d_qk"] ** 0.25)
    return 0.1 if kernel.operator == "PositionAttention" and name == "x" else 1.0


def _flat(values: Float32) -> Float32:
    return values.reshape(*values.shape[:2], -1)


def _attention(values: Mapping[str, Float32], kernel: Kernel, places: Places) -> Float64:
    """(B, d_v, places)."""
    tokens = kernel.shape["tokens"]
    queries = _flat(values["q"])[:, :, places].astype(np.float64)
    keys = _flat(values["k"])[:, :, :tokens].astype(np.float64)
    energies = queries.transpose(0, 2, 1) @ keys  # (B, places, N)
    weights = np.exp(energies - energies.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    features = _flat(values["v"])[:, :, :tokens]
    result: Float64 = _flat(values["x"])[:, :, places].astype(np.float64)
    for start in range(0, features.shape[2], _CHUNK):
        part = slice(start, start + _CHUNK)
        result = result + features[:, :, part].astype(np.float64) @ weights[:, :, part].transpose(0, 2, 1)
    return result


def _energy(values: Mapping[str, Float32], kernel: Kernel, places: Places) -> Float64:
    """(B, S, places, C)."""
    features, slices = _flat(values["x"]), kernel.shape["slices"]
    length = slice_length(features.shape[2], slices)
    parts = (features[:, :, n * length : (n + 1) * length].astype(np.float64) for n in range(slices))
    return np.stack([part[:, places] @ part.transpose(0, 2, 1) for part in parts], axis=1)


def _labels(values: Mapping[str, Float32], kernel: Kernel, places: Places) -> Float64:
    """(B, places, W): the lowest class with the largest logit."""
    size = kernel.shape
    aligned = bool(size["align_corners"])
    logits = values["logits"].astype(np.float64)
    rows = _interpolated(logits, 2, size["height"], aligned, places)
    both = _interpolated(rows, 3, size["width"], aligned, np.arange(size["width"]))
    return np.asarray(both.argmax(axis=1), np.float64)


def _interpolated(values: Float64, axis: int, size: int, aligned: bool, places: Places) -> Float64:
    """Interpolate linearly at some of ``size`` positions of an axis."""
    length = values.shape[axis]
    if aligned:
        at = places * ((length - 1) / max(size - 1, 1))
    else:
        at = np.clip((places + 0.5) * (length / size) - 0.5, 0, None)
    low = np.minimum(np.floor(at).astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    weight = (at - low).reshape([-1 if axis == other else 1 for other in range(values.ndim)])
    below, above = np.take(values, low, axis), np.take(values, high, axis)
    return np.asarray(below + (above - below) * weight)


_TRUTHS: Final = {"PositionAttention": _attention, "ChannelEnergy": _energy, "UpsampleArgmax": _labels}
