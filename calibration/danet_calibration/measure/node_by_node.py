"""Runs a model one node at a time, every stored tensor rounded to the type that its file gives it.

ONNX Runtime's CPU provider computes an FP16 graph in FP32 and removes the casts between its nodes, so a whole
FP16 file run there says nothing about FP16's range. Here each node is run alone in FP32 by ONNX Runtime, and
what is FP16 in the file is rounded to FP16 by NumPy before the next node reads it: values as a GPU stores
them, sums as its tensor cores accumulate them. An FP32 file runs through the same code and rounds nothing.

Function bodies are expanded first, to observe the tensors inside the attention too. Inner nodes and tensors
are named ``<custom node>/<inner name>``. At many positions the body of PositionAttention runs a part of them
at a time (see :mod:`danet_calibration.measure.divided_node`): its whole N x N map would take 4 GiB in FP32 at
1024x2048.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from danet_calibration.errors import CalibrationError
from danet_calibration.measure.divided_node import DividedNode
from danet_calibration.measure.network import FloatArray
from danet_runtime.backends.onnxruntime_session import open_session
from danet_runtime.bundle.operators import OperatorSpec, spec_of
from danet_runtime.frames.arrays import UInt8Array

WHOLE_MAP_TOKENS: Final = 4096
"""Most positions that a custom node runs on at once, with maps of at most 64 MiB each."""

Observer = Callable[[str, FloatArray], None]
"""Called with the name of a floating-point tensor and its values as stored; for tensors inside a divided
custom node once per part."""


def scoped(node: str, name: str) -> str:
    """Return the name of a tensor inside a custom node."""
    return f"{node}/{name}"


def expanded_nodes(
    model: onnx.ModelProto, keep: Callable[[onnx.NodeProto], bool] | None = None
) -> list[onnx.NodeProto]:
    """Return a model's nodes in order, every custom node replaced by the nodes of its function body.

    ``onnx.inliner`` does the same, but its nodes have no names, and its tensors do not say which node they
    come from.

    Args:
        model: Model with custom nodes whose bodies are model-local functions of standard operators.
        keep: Returns whether a custom node stays as it is.

    Raises:
        CalibrationError: A custom node has no body.
    """
    bodies = {(body.domain, body.name): body for body in model.functions}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") or (keep and keep(node)):
            nodes.append(node)
            continue
        body = bodies.get((node.domain, node.op_type))
        if body is None:
            raise CalibrationError(
                f"{node.name} is a {node.domain}.{node.op_type} without a function body; "
                "give the file that `danet export` wrote"
            )
        nodes.extend(_body_nodes(node, body))
    return nodes


def _body_nodes(node: onnx.NodeProto, body: onnx.FunctionProto) -> list[onnx.NodeProto]:
    names = {"": ""}
    names.update(zip(body.input, node.input, strict=True))
    names.update(zip(body.output, node.output, strict=True))
    given = {attribute.name: attribute for attribute in node.attribute}
    nodes = []
    for inner in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        copy.name = scoped(node.name, inner.output[0])
        for names_of in (copy.input, copy.output):
            for index, name in enumerate(names_of):
                names_of[index] = names.setdefault(name, scoped(node.name, name))
        for attribute in copy.attribute:
            if attribute.ref_attr_name:
                name = attribute.name
                attribute.CopyFrom(given[attribute.ref_attr_name])
                attribute.name = name
        nodes.append(copy)
    return nodes


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the ``TensorProto`` type of every tensor of a model, including those inside custom nodes.

    Raises:
        CalibrationError: onnx cannot infer a tensor's type.
    """
    skeleton = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    skeleton.graph.name = model.graph.name
    skeleton.graph.node.extend(expanded_nodes(model))
    skeleton.graph.input.extend(model.graph.input)
    skeleton.graph.output.extend(model.graph.output)
    skeleton.graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16):  # weights: types need no values
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            skeleton.graph.input.append(info)
        else:
            skeleton.graph.initializer.append(tensor)
    graph = onnx.shape_inference.infer_shapes(skeleton, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    unknown = [name for node in graph.node for name in node.output if name and not types.get(name)]
    if unknown:
        raise CalibrationError(
            f"the types of {', '.join(unknown[:3])} cannot be inferred; export the bundle again"
        )
    return types


class NodeByNode:
    """Runs a model on one frame after the other; tensors live only as long as a later node reads them.

    Args:
        model: Model with the input ``frame``, the output ``labels`` and function bodies.
        whole_map_tokens: Most positions that a custom node runs on at once.
        threads: Threads of one node; by default one per physical core.

    Raises:
        CalibrationError: A custom node without body, or a tensor whose type is not known.
    """

    def __init__(
        self, model: onnx.ModelProto, whole_map_tokens: int = WHOLE_MAP_TOKENS, threads: int | None = None
    ) -> None:
        self.types = tensor_types(model)
        shapes = {value.name: value.type.tensor_type.shape for value in model.graph.value_info}

        def is_divided(node: onnx.NodeProto) -> bool:
            spec = spec_of(node.domain, node.op_type)
            if spec is None or not spec.divisible:
                return False
            extents: list[int] = [dim.dim_value for dim in shapes[node.input[0]].dim[2:]]
            return math.prod(extents) > whole_map_tokens

        self._nodes = [_in_fp32(node) for node in expanded_nodes(model, keep=is_divided)]
        self._divided: dict[str, DividedNode] = {}
        for node in self._nodes:
            spec = spec_of(node.domain, node.op_type)
            if spec is not None:
                self._divided[node.name] = _divided(node, spec, model)
        self._constants = {
            tensor.name: _widened(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer
        }
        self._readers = Counter(name for node in self._nodes for name in set(node.input) if name)
        self._sessions: dict[bytes, Any] = {}
        self._threads = threads
        self._opsets = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]

    def __call__(self, frame: UInt8Array, observe: Observer) -> UInt8Array:
        """Segment a frame.

        Args:
            frame: (H, W, 3) BGR.
            observe: Called with every floating-point tensor that a node computes, rounded to its type in the
                file and stored as FP32. The array is valid during the call.

        Returns:
            (H, W) labels.
        """
        values: dict[str, npt.NDArray[Any]] = {**self._constants, "frame": frame[None]}
        left = self._readers.copy()

        def store(name: str, computed: npt.NDArray[Any]) -> npt.NDArray[Any]:
            stored = self._stored(name, computed)
            if stored.dtype == np.float32:
                observe(name, stored)
            return stored

        def run(node: onnx.NodeProto, given: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
            computed = self._run(node, given)
            return [store(name, array) for name, array in zip(node.output, computed, strict=True)]

        for node in self._nodes:
            if node.name in self._divided:
                arrays = [values[name] for name in node.input]
                values[node.output[0]] = self._divided[node.name](arrays, run)
            else:
                values.update(zip(node.output, run(node, values), strict=True))
            left.subtract(set(node.input))
            for name in (*node.input, *node.output):
                if left[name] <= 0 and name not in self._constants and name != "labels":
                    values.pop(name, None)  # the last reader has read it
        return np.asarray(values["labels"][0], np.uint8)

    def _stored(self, name: str, computed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.types[name] != TensorProto.FLOAT16:
            return computed
        with np.errstate(over="ignore"):  # beyond 65504: that is what is looked for
            return computed.astype(np.float16).astype(np.float32)

    def _run(self, node: onnx.NodeProto, values: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Compute one node in FP32. Nodes that differ only in their tensors share a session."""
        feeds = {f"i{index}": values[name] for index, name in enumerate(node.input) if name}
        outputs = [f"o{index}" for index in range(len(node.output))]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = ""
        copy.input[:] = [f"i{index}" if name else "" for index, name in enumerate(node.input)]
        copy.output[:] = outputs
        key = copy.SerializeToString(deterministic=True)
        key += str([array.dtype for array in feeds.values()]).encode()
        if key not in self._sessions:
            graph = helper.make_graph(
                [copy],
                node.op_type,
                [
                    helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), None)
                    for name, array in feeds.items()
                ],
                [onnx.ValueInfoProto(name=name) for name in outputs],
            )
            model = helper.make_model(graph, opset_imports=self._opsets, ir_version=10)
            self._sessions[key] = open_session(  # an arena a session would keep its largest tensors
                model.SerializeToString(), threads=self._threads, keeps_memory=False
            )
        results: list[npt.NDArray[Any]] = self._sessions[key].run(outputs, feeds)
        return results


def _divided(node: onnx.NodeProto, spec: OperatorSpec, model: onnx.ModelProto) -> DividedNode:
    """Return the divided form of a custom node: its body's nodes, with input names of their own."""
    body = next(body for body in model.functions if body.name == node.op_type)
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    inner.input[:] = [scoped(node.name, name) for name in body.input]
    nodes = [_in_fp32(made) for made in _body_nodes(inner, body)]
    return DividedNode(spec, list(inner.input), nodes)


def _in_fp32(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a copy of the node with FP16 changed to FP32 in its attributes."""
    original, node = node, onnx.NodeProto()
    node.CopyFrom(original)
    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for attribute in node.attribute:
        if attribute.t.data_type == TensorProto.FLOAT16:
            values = _widened(numpy_helper.to_array(attribute.t))
            attribute.t.CopyFrom(numpy_helper.from_array(values))
    return node


def _widened(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.astype(np.float32) if values.dtype == np.float16 else values
