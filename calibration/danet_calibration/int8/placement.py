"""Explicit Q/DQ put into the bundle's FP16 model, its attention nodes left as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from danet_calibration.errors import CalibrationError
from danet_calibration.int8.ranges.scales import QuantisedInput
from danet_calibration.measure.node_by_node import tensor_types
from danet_train.quantisation.fake_quantisation import SMALLEST_SCALE


@dataclass
class _Builder:
    """Collects the new nodes and constants; one pair per tensor and scale, shared by its readers."""

    weights: dict[str, onnx.TensorProto]
    types: dict[str, int]
    constants: list[onnx.TensorProto]
    pairs: dict[tuple[str, bytes], str]

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def quantise(model: bytes, inputs: Sequence[QuantisedInput]) -> onnx.ModelProto:
    """Quantise the chosen inputs of a model.

    Weights are stored as INT8 with one scale per output channel and only dequantised; activations get a pair
    of QuantizeLinear and DequantizeLinear. Everything is symmetric: zero points are 0.

    Args:
        model: The bundle's FP16 file, whose node names are those of the FP32 file.
        inputs: The quantised inputs, as :func:`danet_calibration.int8.ranges.scales.find_scales` gives them.

    Raises:
        CalibrationError: The model has no node of such a name, or holds Q/DQ already.
    """
    quantised = onnx.load_from_string(model)
    graph = quantised.graph
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        raise CalibrationError(
            "the FP16 model holds Q/DQ nodes already; calibrate the bundle that `danet export` wrote"
        )
    chosen = {(item.node, item.position): item.scale for item in inputs}
    missing = {node for node, _ in chosen} - {node.name for node in graph.node}
    if missing:
        raise CalibrationError(
            f"the FP16 model lacks the nodes {sorted(missing)[:3]} of the FP32 model; export the bundle again"
        )
    builder = _Builder({tensor.name: tensor for tensor in graph.initializer}, tensor_types(quantised), [], {})
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
    _remove_unused(graph)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def _dequantised(
    name: str, scale: npt.NDArray[np.float32], builder: _Builder, nodes: list[onnx.NodeProto]
) -> str:
    """Return the name of the dequantised tensor, and append its nodes where they do not exist yet."""
    key = (name, scale.tobytes())
    if key in builder.pairs:
        return builder.pairs[key]
    stem = name if not any(tensor == name for tensor, _ in builder.pairs) else f"{name}_{len(builder.pairs)}"
    scale_type = helper.tensor_dtype_to_np_dtype(builder.types[name])
    stored = np.maximum(scale, SMALLEST_SCALE).astype(scale_type)
    scale_name = builder.constant(f"{stem}_scale", stored)
    zero_name = builder.constant(f"{stem}_zero_point", np.zeros(stored.shape, np.int8))
    output = f"{stem}_dequantized"
    if name in builder.weights:
        quantised = builder.constant(
            f"{stem}_int8", _round(numpy_helper.to_array(builder.weights[name]), stored)
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
    if stored.ndim:
        node.attribute.append(helper.make_attribute("axis", 0))
    nodes.append(node)
    builder.pairs[key] = output
    return output


def _round(weight: npt.NDArray[np.generic], scale: npt.NDArray[np.floating]) -> npt.NDArray[np.int8]:
    factors = (
        scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1)) if scale.ndim else scale.astype(float)
    )
    return np.asarray(np.clip(np.rint(weight.astype(np.float64) / factors), -127, 127), np.int8)


def _remove_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
