"""Runs a model in segments, so that many inner tensors can be read without holding all of them in memory.

ONNX Runtime holds every output of a session until the run ends: with each quantised activation as an output,
gigabytes for R-50 at 1024x2048. So the graph is cut into sessions whose wanted tensors fit a budget,
and between two of them live only the tensors that later ones read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from danet_calibration.errors import CalibrationError
from danet_runtime.backends.onnxruntime_session import open_session

BUDGET_BYTES = 128 * 2**20
"""Bytes of wanted tensors that are held at a time."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class _Segment:
    nodes: tuple[onnx.NodeProto, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    unused_after: frozenset[str]


class SegmentedModel:
    """Sessions that together compute the wanted tensors of a model; nodes after the last one are not run.

    Args:
        model: ONNX model without model-local functions.
        wanted: Names of the activations to compute.
        budget_bytes: Bytes of wanted tensors that are held at a time.

    Raises:
        CalibrationError: The model has no such tensor, or ONNX Runtime refuses it.
    """

    def __init__(
        self, model: onnx.ModelProto, wanted: Sequence[str], budget_bytes: int = BUDGET_BYTES
    ) -> None:
        typed = onnx.shape_inference.infer_shapes(model)
        values = [*typed.graph.input, *typed.graph.value_info, *typed.graph.output]
        types = {value.name: value.type for value in values}
        known = {output for node in model.graph.node for output in node.output}
        missing = sorted(set(wanted) - known - {value.name for value in model.graph.input})
        if missing:
            raise CalibrationError(
                f"the model has no activations named {missing[:3]}; export the bundle again"
            )
        self._wanted = frozenset(wanted)
        segments = _cut(model, self._wanted, types, budget_bytes)
        self._steps = [(segment, _session(model, segment, types)) for segment in segments]

    @property
    def segment_count(self) -> int:
        """Number of sessions."""
        return len(self._steps)

    def run(self, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """Yield each wanted tensor with its name, in the order of computation.

        Args:
            inputs: Arrays by the names of the model's inputs.
        """
        live = dict(inputs)
        for name in self._wanted.intersection(live):
            yield name, live[name]
        for segment, session in self._steps:
            outputs = session.run(list(segment.writes), {name: live[name] for name in segment.reads})
            live.update(zip(segment.writes, outputs, strict=True))
            del outputs
            for name in segment.writes:
                if name in self._wanted:
                    yield name, live[name]
                if name in segment.unused_after:
                    del live[name]
            for name in segment.unused_after.difference(segment.writes):
                live.pop(name, None)


def _cut(
    model: onnx.ModelProto, wanted: frozenset[str], types: Mapping[str, onnx.TypeProto], budget_bytes: int
) -> list[_Segment]:
    """Cut the graph between nodes; ONNX demands them in an order in which they can run."""
    groups: list[list[onnx.NodeProto]] = [[]]
    held, left = 0, set(wanted) - {value.name for value in model.graph.input}
    for node in model.graph.node:
        if not left:
            break
        size = sum(_bytes(types.get(name)) for name in node.output if name in wanted)
        if groups[-1] and held and held + size > budget_bytes:
            groups.append([])
            held = 0
        groups[-1].append(node)
        held += size
        left.difference_update(node.output)
    constants = {tensor.name for tensor in model.graph.initializer}
    reads = [_reads(nodes, constants) for nodes in groups]
    segments = []
    for index, nodes in enumerate(groups):
        later = frozenset().union(*reads[index + 1 :])
        made = [name for node in nodes for name in node.output if name]
        writes = tuple(name for name in made if name in wanted or name in later)
        if writes:
            segments.append(
                _Segment(
                    tuple(nodes), tuple(sorted(reads[index])), writes, (reads[index] | set(writes)) - later
                )
            )
    return segments


def _reads(nodes: Sequence[onnx.NodeProto], constants: set[str]) -> frozenset[str]:
    made = {name for node in nodes for name in node.output}
    return frozenset(name for node in nodes for name in _inputs(node) if name not in made | constants)


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, including its subgraphs'."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {name for inner in graph.node for name in inner.output}
            own.update(value.name for value in (*graph.input, *graph.initializer))
            for inner in graph.node:
                yield from (name for name in _inputs(inner) if name not in own)


def _bytes(type_: onnx.TypeProto | None) -> int:
    if type_ is None:
        return 0
    tensor = type_.tensor_type
    item = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).itemsize
    return int(item * math.prod(dimension.dim_value for dimension in tensor.shape.dim))


def _session(model: onnx.ModelProto, segment: _Segment, types: Mapping[str, onnx.TypeProto]) -> Any:  # noqa: ANN401 - ONNX Runtime's session
    untyped = [name for name in (*segment.reads, *segment.writes) if name not in types]
    if untyped:
        raise CalibrationError(f"the types of the tensors {untyped[:3]} are unknown; export the bundle again")
    used = {name for node in segment.nodes for name in _inputs(node)}
    graph = helper.make_graph(
        segment.nodes,
        "segment",
        [helper.make_value_info(name, types[name]) for name in segment.reads],
        [helper.make_value_info(name, types[name]) for name in segment.writes],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    piece = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        # an arena a session would keep each one's peak
        return open_session(piece.SerializeToString(), keeps_memory=False)
    except Exception as error:
        raise CalibrationError(f"ONNX Runtime cannot run the model for calibration: {error}") from error
