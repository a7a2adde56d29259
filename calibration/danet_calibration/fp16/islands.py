"""Islands of FP32 in an FP16 file: nodes whose tensors go beyond what FP16 holds safely.

A tensor that must not be FP16 puts the node that makes it and every node that reads it into FP32: cast to
FP16 in front of a reader it would be infinite again. What a reader makes fits into FP16, or is among the
tensors itself, so an island ends where the values fit, with a Cast that keeps the tensor's name. Everything
outside stays as it was, node names everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from danet_calibration.errors import CalibrationError, GateError
from danet_calibration.measure.node_by_node import tensor_types

SUFFIX: Final = "_fp32"
"""End of the names of FP32 copies and of the casts at an island's border."""

_STANDARD = ("", "ai.onnx")


def island_nodes(fp16_model: bytes, tensors: Collection[str]) -> list[str]:
    """Return the names of the nodes that must run in FP32 to keep the given tensors out of FP16, in order.

    Args:
        fp16_model: An ONNX file.
        tensors: Names of FP16 tensors in it, constants among them.

    Raises:
        GateError: A tensor belongs to a custom node, which cannot run in FP32.
        CalibrationError: The file has no such FP16 tensor.
    """
    return [node.name for node in _island(onnx.load_from_string(fp16_model), tensors)]


def keep_fp32(fp16_model: bytes, tensors: Collection[str], fp32_model: bytes) -> bytes:
    """Return the FP16 file with the given tensors in FP32.

    Args:
        fp16_model: An ONNX file, strongly typed.
        tensors: Names of its FP16 tensors that go beyond what FP16 holds safely: all of them, since an island
            ends where a tensor is not among them.
        fp32_model: The FP32 file of the same export, whose weights the moved nodes take.

    Returns:
        An ONNX file, strongly typed, its node names kept. Without tensors: ``fp16_model`` itself.

    Raises:
        GateError: A tensor belongs to a custom node, which cannot run in FP32.
        CalibrationError: The files do not belong together, or the FP16 file has no such FP16 tensor.
    """
    if not tensors:
        return fp16_model
    model = onnx.load_from_string(fp16_model)
    graph = model.graph
    island = {node.name for node in _island(model, tensors)}
    border = _Border(model, tensor_types(model), onnx.load_from_string(fp32_model))
    outside = {name for node in graph.node if node.name not in island for name in node.input}
    outside.update(output.name for output in graph.output)
    nodes: list[onnx.NodeProto] = []
    for node in list(graph.node):
        if node.name not in island:
            nodes.append(node)
            continue
        for index, name in enumerate(node.input):
            node.input[index] = border.widened(name, nodes)
        _compute_in_fp32(node)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if border.is_fp16(name):
                node.output[index] = border.made(name, name not in tensors, name in outside, nodes)
    del graph.node[:]
    graph.node.extend(nodes)
    border.finish()
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _island(model: onnx.ModelProto, tensors: Collection[str]) -> list[onnx.NodeProto]:
    nodes = [node for node in model.graph.node if {*node.input, *node.output}.intersection(tensors)]
    types = tensor_types(model)
    held = {name for node in model.graph.node for name in (*node.input, *node.output)}
    for node in nodes:
        if node.domain not in _STANDARD:
            name = next(name for name in (*node.input, *node.output) if name in tensors)
            side = "input" if name in node.input else "output"
            raise GateError(
                f"{name} goes beyond what FP16 holds safely and is an {side} of the custom node {node.name} "
                f"({node.op_type}), whose kernels take FP16; {_ADVICE}"
            )
    for name in sorted(tensors):
        if types.get(name) != TensorProto.FLOAT16:
            raise CalibrationError(f"expected the name of an FP16 tensor of the FP16 file (got {name})")
        if name not in held:
            raise GateError(
                f"{name} goes beyond what FP16 holds safely inside the custom node {name.partition('/')[0]}, "
                f"which computes in FP16; {_ADVICE}"
            )
    return nodes


_ADVICE = (
    "deploy the fp32 variant, or train the model on with a smaller learning rate and more weight decay, "
    "so that its activations stay below 32752"
)


@dataclass
class _Border:
    """The border between the island and the FP16 around it: casts, and FP32 weights."""

    model: onnx.ModelProto
    types: dict[str, int]
    exact: onnx.ModelProto
    copies: dict[str, str] = field(default_factory=dict)  # FP16 tensor: its FP32 copy
    changed: dict[str, str] = field(default_factory=dict)  # FP32 tensor: the FP16 one it has the shape of

    def __post_init__(self) -> None:
        self._weights = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self._exact = {tensor.name: tensor for tensor in self.exact.graph.initializer}
        self._names = {*self.types, *(node.name for node in self.model.graph.node)}

    def is_fp16(self, name: str) -> bool:
        return self.types.get(name) == TensorProto.FLOAT16

    def widened(self, name: str, nodes: list[onnx.NodeProto]) -> str:
        """Return the FP32 tensor to read instead of an FP16 one; add its cast or weight if it is missing."""
        if not self.is_fp16(name):
            return name
        if name not in self.copies:
            copy = self.copies[name] = self._new(name)
            if name in self._weights:
                self.model.graph.initializer.append(numpy_helper.from_array(self._weight(name), copy))
            else:
                nodes.append(helper.make_node("Cast", [name], [copy], name=copy, to=TensorProto.FLOAT))
                self.changed[copy] = name
        return self.copies[name]

    def made(self, name: str, fits: bool, read_outside: bool, nodes: list[onnx.NodeProto]) -> str:
        """Return the FP32 tensor to write instead of an FP16 one; a cast keeps the name for outer readers."""
        if not fits:
            self.copies[name] = self.changed[name] = name
            return name
        copy = self.copies[name] = self._new(name)
        self.changed[copy] = name
        if read_outside:
            cast = self._new(f"{name}_fp16")
            nodes.append(helper.make_node("Cast", [copy], [name], name=cast, to=TensorProto.FLOAT16))
        return copy

    def finish(self) -> None:
        """Update the types of the graph's tensors, and remove unused weights."""
        graph = self.model.graph
        infos = {info.name: info for info in graph.value_info}
        for name, like in self.changed.items():
            if like not in infos:
                continue
            if name != like:
                infos[name] = graph.value_info.add()
                infos[name].CopyFrom(infos[like])
                infos[name].name = name
            infos[name].type.tensor_type.elem_type = TensorProto.FLOAT
        used = {name for node in graph.node for name in node.input}
        made = {name for node in graph.node for name in node.output}
        _retain(graph.initializer, used)
        _retain(graph.value_info, made)

    def _weight(self, name: str) -> npt.NDArray[np.float32]:
        rounded = numpy_helper.to_array(self._weights[name])
        if name not in self._exact:
            if not np.isfinite(rounded).all():
                raise CalibrationError(f"the FP32 file lacks the weight {name}; export the bundle again")
            return rounded.astype(np.float32)  # a constant of the FP16 file alone
        exact = numpy_helper.to_array(self._exact[name])
        if exact.shape != rounded.shape or exact.dtype != np.float32:
            raise CalibrationError(
                f"expected {name} as float32 {rounded.shape} in the FP32 file "
                f"(got {exact.dtype} {exact.shape}); export the bundle again"
            )
        return exact

    def _new(self, name: str) -> str:
        new = name + SUFFIX
        while new in self._names:
            new += SUFFIX
        self._names.add(new)
        return new


def _compute_in_fp32(node: onnx.NodeProto) -> None:
    """Change FP16 to FP32 in a node's attributes: the target of a Cast, a constant."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
        if attribute.t.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(attribute.t).astype(np.float32)
            attribute.t.CopyFrom(numpy_helper.from_array(values))


def _retain(entries: Any, names: Iterable[str]) -> None:  # noqa: ANN401 - a protobuf container without types
    kept = [entry for entry in entries if entry.name in names]
    del entries[:]
    entries.extend(kept)
