"""The layers of a quantised model, the units that go back to FP16.

A layer is one convolution with what TensorRT computes in its kernel: its activation, its weight and, where
its output is added to a skip connection, the skip's quantised input. A convolution alone would be too little:
with the skip still on INT8 the kernel would be mixed within itself. Where two layers read one tensor, its
pair stays in the file as long as one of them is quantised, and the other reads the tensor itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from danet_calibration.int8.ranges.scales import QuantisedInput

_TRANSPARENT = frozenset({"Relu", "MaxPool", "Identity", "Cast"})
"""Operators that may stand between a convolution and the node that belongs to it."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer, compared by identity.

    Attributes:
        name: Name of its module in the network, as ``backbone.layer1.0.conv2``; else the node's name.
        node: Name of its convolution in the bundle's files; for a layer without one, of the quantised node.
        macs: MACs of its convolution for one frame; 0 where that is not quantised, or there is none.
        inputs: All quantised inputs of the layer.
    """

    name: str
    node: str
    macs: int
    inputs: tuple[QuantisedInput, ...]


def find_layers(
    model: onnx.ModelProto, inputs: Sequence[QuantisedInput], macs: Mapping[str, int]
) -> list[Layer]:
    """Group the quantised inputs of a model by layer, in the order of its nodes.

    An input of a node that is no convolution belongs to the convolution that the node's other input comes
    from (the addition of a skip connection), or its only input (a pooling); where there is none, it is a
    layer of its own.

    Args:
        model: The floating-point file.
        inputs: The quantised inputs, as :func:`danet_calibration.int8.ranges.scales.find_scales` gives them.
        macs: MACs of each convolution, counted by
            :func:`danet_calibration.int8.coverage.measure_coverage`.
    """
    nodes = {node.name: node for node in model.graph.node}
    producers = {name: node for node in model.graph.node for name in node.output}
    quantised = {(item.node, item.position) for item in inputs}
    grouped: dict[str, list[QuantisedInput]] = {}
    for item in inputs:
        grouped.setdefault(_owner(nodes[item.node], quantised, producers), []).append(item)
    names = layer_names(model)
    return [
        Layer(
            names.get(node, node),
            node,
            macs.get(node, 0) if (node, 0) in quantised else 0,
            tuple(grouped[node]),
        )
        for node in nodes
        if node in grouped
    ]


def layer_names(model: onnx.ModelProto) -> dict[str, str]:
    """Map each convolution of a floating-point file to the network's module that its weight belongs to."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: node.input[1].removeprefix("network.").removesuffix(".weight")
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] in weights
    }


def _owner(
    node: onnx.NodeProto, quantised: set[tuple[str, int]], producers: dict[str, onnx.NodeProto]
) -> str:
    if node.op_type == "Conv":
        return node.name
    others = [name for at, name in enumerate(node.input) if (node.name, at) not in quantised]
    for name in others or node.input:
        source = producers.get(name)
        while source is not None and source.op_type in _TRANSPARENT:
            source = producers.get(source.input[0])
        if source is not None and source.op_type == "Conv":
            return source.name
    return node.name
