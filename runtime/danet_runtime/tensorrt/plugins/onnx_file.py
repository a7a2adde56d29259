"""Function bodies and custom nodes of an ONNX file, without the onnx package, which no vehicle has.

An ONNX file is a protobuf message, ``ModelProto`` (:mod:`danet_runtime.bundle.wire_format`). Model-local
functions are its field 25, one ``FunctionProto`` a function, with the name in its field 1 and the domain in
its field 10. Leaving those fields out and copying every other byte is all that is needed, and keeps the graph
bit for bit. The nodes are field 1 of the graph, which is field 7; a node's ``op_type`` is its field 4 and its
domain field 7. (Numbers: onnx.proto.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from danet_runtime.bundle.wire_format import LENGTH, fields
from danet_runtime.errors import BundleError

_MODEL_GRAPH: Final = 7
_MODEL_OPSETS: Final = 8
_MODEL_FUNCTIONS: Final = 25
_FUNCTION_NAME_AND_DOMAIN: Final = (1, 10)
_OPSET_DOMAIN: Final = (1,)
_GRAPH_NODES: Final = 1
_NODE_TYPE_AND_DOMAIN: Final = (4, 7)


def without_functions(model: bytes, domain: str) -> bytes:
    """The same model without the functions of one domain.

    Args:
        model: An ONNX file.
        domain: Domain of the functions to leave out; functions of other domains stay.

    Raises:
        BundleError: It is no ONNX file, or breaks off.
    """
    view = memoryview(model)
    kept: list[memoryview] = []
    has_graph = False
    for number, wire_type, start, value_start, end in fields(view):
        has_graph = has_graph or (number, wire_type) == (_MODEL_GRAPH, LENGTH)
        is_function = (number, wire_type) == (_MODEL_FUNCTIONS, LENGTH)
        if is_function and _texts(view[value_start:end], _FUNCTION_NAME_AND_DOMAIN)[1] == domain:
            continue
        kept.append(view[start:end])
    if not has_graph:
        raise BundleError("expected an ONNX model, got a file without a graph; export the bundle again")
    return b"".join(kept)


def with_bodies(model: bytes, bodies: bytes, domain: str) -> bytes:
    """The same model with other functions for one domain, written for another opset.

    The standard operators of the graph keep their meaning in a later opset of the bodies, so the model takes
    over the bodies' opset: a function may not be of another than its model. Joining two protobuf messages
    unites them.

    Args:
        model: An ONNX file.
        bodies: An ONNX file of functions, with the opset of the standard operators, and without a graph.
        domain: Domain of the functions to exchange.

    Raises:
        BundleError: The model is no ONNX file, or breaks off.
    """
    stripped = memoryview(without_functions(model, domain))
    kept = [
        stripped[start:end]
        for number, wire_type, start, value_start, end in fields(stripped)
        if (number, wire_type) != (_MODEL_OPSETS, LENGTH)
        or _texts(stripped[value_start:end], _OPSET_DOMAIN)[0] not in ("", "ai.onnx")
    ]
    return b"".join([*kept, bodies])


def function_names(model: bytes) -> list[tuple[str, str]]:
    """Name and domain of each function in an ONNX file.

    Raises:
        BundleError: It is no ONNX file, or breaks off.
    """
    functions = _messages(memoryview(model), _MODEL_FUNCTIONS)
    texts = (_texts(function, _FUNCTION_NAME_AND_DOMAIN) for function in functions)
    return [(name, domain) for name, domain in texts]


def node_types(model: bytes, domain: str) -> list[str]:
    """The ``op_type`` of each node of the main graph that belongs to one domain, in order.

    Raises:
        BundleError: It is no ONNX file, or breaks off.
    """
    nodes = [
        _texts(node, _NODE_TYPE_AND_DOMAIN)
        for graph in _messages(memoryview(model), _MODEL_GRAPH)
        for node in _messages(graph, _GRAPH_NODES)
    ]
    return [op_type for op_type, of in nodes if of == domain]


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, wire_type, _, value_start, end in fields(message):
        if (number, wire_type) == (wanted, LENGTH):
            yield message[value_start:end]


def _texts(message: memoryview, wanted: tuple[int, ...]) -> tuple[str, ...]:
    texts = dict.fromkeys(wanted, "")  # an absent string is empty, and of several the last one counts
    for number, wire_type, _, value_start, end in fields(message):
        if number in texts and wire_type == LENGTH:
            texts[number] = bytes(message[value_start:end]).decode("utf-8", errors="replace")
    return tuple(texts[number] for number in wanted)
