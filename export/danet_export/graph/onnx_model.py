"""Exports the traced module to an ONNX file: simplified, checked and without paths of this machine."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from typing import Any, Final

import onnx
import onnxsim
import torch
from onnx import helper
from torch import nn

from danet_export.errors import ExportError
from danet_export.graph.geometry import Geometry
from danet_export.ops.catalogue import code_of
from danet_export.ops.function_body import BODY_OPSET
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS, Operator

_log = logging.getLogger(__name__)

OPSET = BODY_OPSET
IR_VERSION = 10
"""The newest that TensorRT 10.3 and ONNX Runtime 1.18 both read."""

_APPLIED: Final[Operator] = "ChannelEnergy"

APPLICATION_PREFIX = "channel_attention_"
"""Prefix of the names of the standard nodes that apply the channel energies, which INT8 leaves alone."""

CONVERSION_PREFIX = "color_conversion_"
"""Prefix of the names of the nodes that convert a camera's luma and chroma to BGR, which INT8 leaves alone:
its step would be several levels of a color."""


def to_onnx(module: nn.Module, geometry: Geometry) -> onnx.ModelProto:
    """Export the wrapper.

    Args:
        module: An ``ExportedDANet``, which decides the precision.
        geometry: The sizes.

    Returns:
        A model with the input ``frame``, the output ``labels``, named custom nodes and their function bodies.

    Raises:
        ExportError: onnxsim changed or removed something that must stay.
    """
    frame = torch.zeros(geometry.frame_shape, dtype=torch.uint8)
    # Says at every export that torchvision's operators, which DANet has none of, are not registered.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            module.eval(),
            (frame,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["frame"],
            output_names=["labels"],
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program; expected an ONNXProgram")
    model: onnx.ModelProto = program.model_proto
    _remove_traces(model)
    model.functions.extend(_bodies_in_use(model))
    before = _custom_nodes(model)
    equal: bool
    model, equal = onnxsim.simplify(model)
    if not equal:
        raise ExportError("onnxsim's own check found that the simplified model computes something else")
    if _custom_nodes(model) != before or len(model.functions) != len(before):
        raise ExportError(
            f"onnxsim changed the custom nodes from {dict(before)} to {dict(_custom_nodes(model))}"
        )
    _name_nodes(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "danet-edge", ""
    onnx.checker.check_model(model, full_check=True)
    _log.info("exported %d nodes, custom nodes %s", len(model.graph.node), dict(before))
    return model


def _custom_nodes(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node if node.domain == NAMESPACE)


def _bodies_in_use(model: onnx.ModelProto) -> list[onnx.FunctionProto]:
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*model.graph.input, *model.graph.value_info)
    }
    facts: dict[str, dict[str, Any]] = {}
    for node in model.graph.node:
        if node.domain == NAMESPACE:
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            sizes = OPERATORS[node.op_type].sizes([shapes[name] for name in node.input], attributes)
            facts[node.op_type] = {**sizes, **attributes}
    return [code_of(name).body(facts[name]) for name in OPERATORS if name in facts]


def _remove_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes on the source files, which hold their paths."""
    graph = model.graph
    del model.functions[:]  # the exporter's own helpers, all inlined by now
    model.doc_string = graph.doc_string = ""
    del model.metadata_props[:]
    for item in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a unique name: an empty one matches any pattern, in quantisers above all."""
    counts: Counter[str] = Counter()
    application = _application_outputs(model.graph)
    conversion = _conversion_outputs(model.graph)
    for node in model.graph.node:
        base = OPERATORS[node.op_type].stem if node.domain == NAMESPACE else node.name
        if application.intersection(node.output):
            base = APPLICATION_PREFIX + node.op_type.lower()
        elif conversion.intersection(node.output):
            base = CONVERSION_PREFIX + node.op_type.lower()
        base = base or node.op_type.lower()
        counts[base] += 1
        node.name = base if counts[base] == 1 else f"{base}_{counts[base]}"


def _conversion_outputs(graph: onnx.GraphProto) -> set[str]:
    """Return the outputs of the nodes up to the one that clamps the levels to 0..255; empty for BGR input."""
    rounded = next((node for node in graph.node if node.op_type == "Round"), None)
    if rounded is None:
        return set()
    wanted = set(rounded.output)
    for node in reversed(graph.node):  # from the readers to what they read
        if wanted.intersection(node.output):
            wanted.update(node.input)
    held = next(node for node in graph.node if rounded.output[0] in node.input)
    return wanted | set(held.output)


def _application_outputs(graph: onnx.GraphProto) -> set[str]:
    """Return the outputs of the standard nodes from the channel energies to the sum with CAM's input."""
    reached: set[str] = set()
    for node in graph.node:  # in topological order
        if (node.domain, node.op_type) == (NAMESPACE, _APPLIED):
            reached.update(node.output)
    energies = set(reached)
    ended: set[str] = set()
    for node in graph.node:
        if reached.intersection(node.input) and not ended.intersection(node.input):
            reached.update(node.output)
            if node.op_type == "Add":
                ended.update(node.output)
    return reached - energies
