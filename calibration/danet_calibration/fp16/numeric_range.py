"""Measures how much of FP16's range the tensors of a model use on real frames.

There are two ways, both over every intermediate tensor, including those inside the attention. The first uses
the values of the FP32 file: it counts the values that would become infinite or zero if this tensor alone were
rounded to FP16. The second runs the FP16 file with each stored tensor rounded before the next node reads it
(see :mod:`danet_calibration.measure.node_by_node`), so that one tensor's rounding reaches the next. Only
tensors that are FP16 in the FP16 file are at risk: the energies of both attentions are FP32 there and may go
beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from danet_calibration.errors import CalibrationError
from danet_calibration.fp16.report import FP16_MAX, AttentionRange, Fp16Range, TensorRange
from danet_calibration.measure.network import FloatArray
from danet_calibration.measure.node_by_node import (
    WHOLE_MAP_TOKENS,
    NodeByNode,
    expanded_nodes,
    scoped,
    tensor_types,
)
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.operators import spec_of
from danet_runtime.frames.arrays import UInt8Array

_ROUNDS_TO_INFINITY = 65520.0  # half-way between 65504 and 65536, to even
_SMALLEST_NORMAL = 2.0**-14
_ROUNDS_TO_ZERO = 2.0**-25  # half of the smallest subnormal, to even
_CHUNK = 2**20

_MOVES = ("Pad", "Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Identity")

Progress = Callable[[int, int], None]


def measure_fp16_range(
    bundle: Bundle,
    frames: Iterable[UInt8Array],
    progress: Progress | None = None,
    *,
    fp16_model: bytes | None = None,
    whole_map_tokens: int = WHOLE_MAP_TOKENS,
) -> Fp16Range:
    """Measure the range in both ways, with one frame in memory at a time.

    Args:
        bundle: Holds an FP32 and an FP16 file.
        frames: (H, W, 3) BGR each, of the bundle's frame size.
        progress: Called after each frame with the number done, and 0 for the unknown number of all.
        fp16_model: ONNX file to measure instead of the bundle's FP16 file, with some nodes kept in FP32.
        whole_map_tokens: Most positions that PositionAttention runs on at once.

    Raises:
        CalibrationError: No frames, or the files do not hold the same tensors.
        IntegrityError: A file of the bundle is not the one that was written.
    """
    exact = onnx.load_from_string(bundle.read(bundle.variant("fp32").file))
    shipped = onnx.load_from_string(fp16_model or bundle.read(bundle.variant("fp16").file))
    sources = _sources(exact, shipped)
    exact_run, rounded_run = (NodeByNode(model, whole_map_tokens) for model in (exact, shipped))
    statistics: dict[str, _Statistics] = {}
    nonfinite: dict[str, int] = {}
    energies: dict[str, float] = {}
    attention = _attention(exact)

    def observe_exact(name: str, values: FloatArray) -> None:
        statistics.setdefault(name, _Statistics()).add(values)
        if name in attention:
            energies[name] = max(energies.get(name, 0.0), _largest_energy(values))

    def observe_rounded(name: str, values: FloatArray) -> None:
        bad = sum(int(np.count_nonzero(~np.isfinite(chunk))) for chunk in _chunks(values))
        nonfinite[name] = nonfinite.get(name, 0) + bad

    shares: list[float] = []
    for frame in frames:
        expected = exact_run(frame, observe_exact)
        shares.append(float((rounded_run(frame, observe_rounded) == expected).mean()))
        if progress:
            progress(len(shares), 0)
    if not shares:
        raise CalibrationError("no frames to measure FP16's range on; give frames of the camera")
    stored = {tensor.name: tensor for tensor in shipped.graph.initializer}
    constants = stored | {tensor.name: tensor for tensor in exact.graph.initializer}
    tensors = []
    for name, (node, source, fp16) in sources.items():
        if source in constants:
            statistics[source] = _Statistics()
            statistics[source].add(numpy_helper.to_array(constants[source]).astype(np.float32))
        if name in stored:
            nonfinite[name] = int(np.count_nonzero(~np.isfinite(numpy_helper.to_array(stored[name]))))
        tensors.append(statistics[source].row(name, node, source, fp16, nonfinite.get(name, 0)))
    return Fp16Range(
        frames=len(shares),
        tensors=tuple(tensors),
        attention=tuple(
            AttentionRange(kind, product, energies[name], energies[name] / FP16_MAX)
            for name, (kind, product) in attention.items()
        ),
        label_agreement=float(np.mean(shares)),
    )


class _Statistics:
    """Extremes and counts of one tensor's FP32 values, added up over parts and frames."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.values = self.overflow = self.underflow = self.zeroed = 0

    def add(self, values: FloatArray) -> None:
        for chunk in _chunks(values):
            size = np.abs(chunk)
            largest = float(size.max(initial=0.0))  # NaN where there is one
            self.largest = max(self.largest, largest if np.isfinite(largest) else np.inf)
            self.values += size.size
            self.overflow += int(np.count_nonzero(~(size < _ROUNDS_TO_INFINITY)))
            small = size[size < _SMALLEST_NORMAL]
            small = small[small > 0]
            self.underflow += small.size
            self.zeroed += int(np.count_nonzero(small <= _ROUNDS_TO_ZERO))

    def row(self, name: str, node: str, source: str, fp16: bool, nonfinite: int) -> TensorRange:
        counts = (self.values, self.overflow, self.underflow, self.zeroed)
        return TensorRange(name, node, source, fp16, self.largest, *counts, nonfinite)


def _chunks(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield a tensor in parts, so that computing on it needs little memory."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]


def _sources(exact: onnx.ModelProto, shipped: onnx.ModelProto) -> dict[str, tuple[str, str, bool]]:
    """Map each floating-point tensor of the FP16 file to its node, its FP32 tensor, and whether it is FP16.

    Both files come from one export: nodes and inner tensors have the same names. Nodes that only the FP16
    file has move values and are mapped to their input: casts, and the padding of a letterbox, which onnxsim
    folds into the first convolution where no cast stands between.

    Raises:
        CalibrationError: A tensor of the FP16 file has no counterpart.
    """
    counterparts = {(node.name, node.op_type): node for node in expanded_nodes(exact)}
    constants = {tensor.name for tensor in exact.graph.initializer}
    types = tensor_types(shipped)
    # A constant that only the FP16 file has is mapped to itself.
    sources = {
        tensor.name: ("", tensor.name, True)
        for tensor in shipped.graph.initializer
        if tensor.data_type == TensorProto.FLOAT16
    }
    for node in expanded_nodes(shipped):
        counterpart = counterparts.get((node.name, node.op_type))
        for index, name in enumerate(node.output):
            if types.get(name) not in (TensorProto.FLOAT, TensorProto.FLOAT16):
                continue
            fp16 = types[name] == TensorProto.FLOAT16
            moves = node.op_type == "Cast" or (node.op_type in _MOVES and counterpart is None)
            if moves and node.input[0] in sources:
                sources[name] = (node.name, sources[node.input[0]][1], fp16)
            elif moves and node.input[0] in constants:
                sources[name] = (node.name, node.input[0], fp16)
            elif counterpart is not None:
                sources[name] = (node.name, counterpart.output[index], fp16)
            else:
                raise CalibrationError(
                    f"{name} of the FP16 file, made by {node.name} ({node.op_type}), has no counterpart in "
                    "the FP32 file; export the bundle again"
                )
    return sources


def _attention(exact: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """Map each tensor that holds energies to its attention and to the product that it is."""
    found = {}
    for node in exact.graph.node:
        spec = spec_of(node.domain, node.op_type)
        if spec and spec.energies:
            inner = spec.energies.tensor
            tensor = scoped(node.name, inner) if inner else node.output[0]
            found[tensor] = (node.name.replace("energy", "attention"), spec.energies.product)
    return found


def _largest_energy(values: FloatArray) -> float:
    """Return the largest magnitude; (B, S, C, C) partial sums, ChannelEnergy's, are added up first."""
    energy = values.sum(axis=1) if values.ndim == 4 else values
    largest = float(np.abs(energy).max())
    return largest if np.isfinite(largest) else np.inf
