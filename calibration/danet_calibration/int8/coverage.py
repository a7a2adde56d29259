"""Share of a model that really runs on INT8, counted in its file node by node."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from danet_calibration.errors import CalibrationError, GateError

REQUIRED_SHARE = 0.8
"""Least share of convolution MACs between Q/DQ. Below it something went wrong unseen: a model in which
nothing was quantised has perfect accuracy."""


@dataclass(frozen=True)
class Coverage:
    """The convolutions of a model by what they compute on.

    Attributes:
        int8_macs: MACs of convolutions whose activation and weight are both dequantised.
        total_macs: MACs of all convolutions.
        float_convolutions: Names of those that compute on floating point.
        quantize_nodes: Number of QuantizeLinear nodes.
        macs: MACs of each convolution, by name.
    """

    int8_macs: int
    total_macs: int
    float_convolutions: tuple[str, ...]
    quantize_nodes: int
    macs: dict[str, int]

    @property
    def share(self) -> float:
        """Share of INT8 MACs in all MACs, 0..1."""
        return self.int8_macs / self.total_macs


def measure_coverage(model: onnx.ModelProto) -> Coverage:
    """Count the multiply-accumulates of every convolution.

    Raises:
        CalibrationError: The model has no convolution, or one whose output shape is unknown.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    dims = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    counted: dict[str, int] = {}
    floating = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        macs = math.prod(shapes.get(node.output[0], [0])) * math.prod(_weight_dims(node, producers, dims)[1:])
        if macs <= 0:
            raise CalibrationError(
                f"the output shape of convolution {node.name} is not known; export it again"
            )
        counted[node.name] = macs
        if not all(
            name in producers and producers[name].op_type == "DequantizeLinear" for name in node.input[:2]
        ):
            floating.append(node.name)
    if not counted:
        raise CalibrationError("the model has no convolution; expected a DANet as `danet export` writes it")
    quantize_nodes = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    total = sum(counted.values())
    int8_macs = total - sum(counted[name] for name in floating)
    return Coverage(int8_macs, total, tuple(floating), quantize_nodes, counted)


def require_coverage(coverage: Coverage, least: float = REQUIRED_SHARE) -> None:
    """Refuse a model that is INT8 in name only.

    Raises:
        GateError: The share is below ``least``.
    """
    if coverage.share < least:
        raise GateError(
            f"{coverage.share:.1%} of the convolution MACs are between Q/DQ; expected {least:.0%} or more. "
            f"In floating point: {', '.join(coverage.float_convolutions[:5])}"
        )


def _weight_dims(
    node: onnx.NodeProto, producers: dict[str, onnx.NodeProto], dims: dict[str, list[int]]
) -> list[int]:
    name = node.input[1]
    while (
        name in producers
    ):  # through DequantizeLinear, and QuantizeLinear where weights are stored as floats
        name = producers[name].input[0]
    return dims[name]
