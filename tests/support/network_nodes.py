"""The custom nodes of a real network: the shapes that go into each, and its attributes."""

from __future__ import annotations

from typing import NamedTuple

import onnx


class Node(NamedTuple):
    """One node.

    Attributes:
        operator: Its type.
        shapes: Shape of each input.
        attributes: Its integer attributes.
    """

    operator: str
    shapes: list[tuple[int, ...]]
    attributes: dict[str, int]


def custom_nodes(model: onnx.ModelProto) -> list[Node]:
    """The nodes of the domain ``danet`` of a model that holds their function bodies."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: tuple(extent.dim_value for extent in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    return [
        Node(
            node.op_type,
            [shapes[name] for name in node.input],
            {one.name: one.i for one in node.attribute if one.type == onnx.AttributeProto.INT},
        )
        for node in graph.node
        if node.domain == "danet"
    ]
