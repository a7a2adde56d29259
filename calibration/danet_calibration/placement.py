"""Explicit Q/DQ put into the bundle's FP16 model, its attention nodes left as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from danet_calibration.errors import CalibrationError
from danet_calibration.scales import QuantisedInput

SMALLEST_SCALE = 2.0**-18
"""Scales are FP16 like their tensors; below this they would lose their own precision, or be 0."""


@dataclass
class _Builder:
    """Collects the new nodes and constants; one pair a tensor and scale, shared by its consumers."""

    weights: dict[str, onnx.TensorProto]
    constants: list[onnx.TensorProto]
    pairs: dict[tuple[str, bytes], str]

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def quantise(model: bytes, inputs: Sequence[QuantisedInput]) -> onnx.ModelProto:
    """Quantise the inputs that were chosen.

    Weights are stored as INT8 with one scale an output channel and only dequantised; activations get a pair
    of QuantizeLinear and DequantizeLinear. Everything is symmetric: zero points are 0.

    Args:
        model: The bundle's FP16 file, whose node names are those of the FP32 file.
        inputs: As :func:`danet_calibration.scales.find_scales` gives them.

    Raises:
        CalibrationError: The model has no node of such a name.
    """
    quantised = onnx.load_from_string(model)
    graph = quantised.graph
    chosen = {(item.node, item.position): item.scale for item in inputs}
    missing = {node for node, _ in chosen} - {node.name for node in graph.node}
    if missing:
        raise CalibrationError(
            f"the FP16 model lacks the nodes {sorted(missing)[:3]} of the FP32 model; export the bundle again"
        )
    builder = _Builder({tensor.name: tensor for tensor in graph.initializer}, [], {})
    nodes: list[onnx.NodeProto] = []
    for node in list(graph.node):
        for position, name in enumerate(node.input):
            scale = chosen.get((node.name, position))
            if scale is not None:
                node.input[position] = _dequantised(name, scale, builder, nodes)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(builder.constants)
    _drop_unused(graph)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def _dequantised(
    name: str, scale: npt.NDArray[np.float32], builder: _Builder, nodes: list[onnx.NodeProto]
) -> str:
    """The name of the dequantised tensor; its nodes are appended where they do not exist yet."""
    key = (name, scale.tobytes())
    if key in builder.pairs:
        return builder.pairs[key]
    stem = name if not any(tensor == name for tensor, _ in builder.pairs) else f"{name}_{len(builder.pairs)}"
    scale16 = np.maximum(scale, SMALLEST_SCALE).astype(np.float16)
    scale_name = builder.constant(f"{stem}_scale", scale16)
    zero_name = builder.constant(f"{stem}_zero_point", np.zeros(scale16.shape, np.int8))
    output = f"{stem}_dequantized"
    if name in builder.weights:
        quantised = builder.constant(
            f"{stem}_int8", _round(numpy_helper.to_array(builder.weights[name]), scale16)
        )
    else:
        quantised = f"{stem}_quantized"
        nodes.append(
            helper.make_node(
                "QuantizeLinear", [name, scale_name, zero_name], [quantised], name=f"{stem}_QuantizeLinear"
            )
        )
    node = helper.make_node(
        "DequantizeLinear", [quantised, scale_name, zero_name], [output], name=f"{stem}_DequantizeLinear"
    )
    if scale16.ndim:
        node.attribute.append(helper.make_attribute("axis", 0))
    nodes.append(node)
    builder.pairs[key] = output
    return output


def _round(weight: npt.NDArray[np.generic], scale: npt.NDArray[np.float16]) -> npt.NDArray[np.int8]:
    factors = (
        scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1)) if scale.ndim else scale.astype(float)
    )
    return np.asarray(np.clip(np.rint(weight.astype(np.float64) / factors), -127, 127), np.int8)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
