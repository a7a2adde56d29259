"""Each custom operator of an exported file alone, against float64.

The bodies, attributes and channel counts are read off the file; only the number of positions is reduced,
since the reference stores every map. FP32 runs in ONNX Runtime. FP16 runs in onnx's reference evaluator,
which computes in true FP16: with energies beyond 65504, a body that takes them in FP16 gives no number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from danet_export.errors import ParityError
from danet_export.ops import attention_ops as ops
from danet_export.ops import reference_ops
from danet_runtime.backends.onnxruntime_session import open_session
from danet_runtime.bundle import Precision

TOLERANCE: dict[Precision, float] = {"fp32": 1e-5, "fp16": 2e-3}
"""Largest relative error, in the norm, of an attention operator."""

LABEL_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 2e-2}
"""Largest share of labels that UpsampleArgmax may give otherwise than float64: near ties, which FP16 has more
of, since its body interpolates in FP16."""

_POSITIONS = (6, 9)
_LARGE_ENERGY = 1.5e5

Inputs = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class OperatorParity:
    """Error of one operator's body against float64."""

    precision: Precision
    operator: str
    input_shapes: tuple[tuple[int, ...], ...]
    error: float
    limit: float


def compare_operators(precision: Precision, model: onnx.ModelProto, seed: int = 0) -> list[OperatorParity]:
    """Compare every custom operator that a file holds.

    Args:
        precision: ``fp32`` or ``fp16``, the type of the file's tensors.
        model: With function bodies and the shapes of the custom nodes' inputs.
        seed: Of the inputs, whose energies go beyond FP16's range.

    Raises:
        ParityError: An operator's error is beyond its limit, or not a number.
    """
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    random = np.random.default_rng(seed)
    results = []
    for node in model.graph.node:
        if node.domain != ops.DOMAIN:
            continue
        body = next(body for body in model.functions if body.name == node.op_type)
        channels = [shapes[name][1] for name in node.input]
        inputs, attributes, reference = _case(node, channels, precision, random)
        got = run_body(body, inputs, attributes, precision)
        expected = np.asarray(reference(), np.float64)
        if node.op_type == ops.UPSAMPLE_ARGMAX:
            error, limit = float((got != expected).mean()), LABEL_TOLERANCE[precision]
        else:
            error = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
            limit = TOLERANCE[precision]
        if not error <= limit:
            raise ParityError(
                f"{node.op_type} in {precision}: error {error:.2e} against float64; expected at most {limit}"
            )
        sizes = tuple(tuple(array.shape) for array in inputs.values())
        results.append(OperatorParity(precision, node.op_type, sizes, error, limit))
    return results


def _case(
    node: onnx.NodeProto, channels: list[int], precision: Precision, random: np.random.Generator
) -> tuple[Inputs, dict[str, Any], Callable[[], npt.ArrayLike]]:
    """Inputs, attributes and the reference's result for one node, over few positions."""
    dtype = np.float16 if precision == "fp16" else np.float32
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}

    def normal(count: int, scale: float) -> npt.NDArray[Any]:
        return np.asarray(scale * random.standard_normal((1, count, *_POSITIONS)), dtype)

    if node.op_type == ops.POSITION_ATTENTION:
        scale = (_LARGE_ENERGY / 3) ** 0.5 / channels[0] ** 0.25  # energies have a deviation of a third of it
        q, k = normal(channels[0], scale), normal(channels[1], scale)
        v, x = normal(channels[2], 1.0), normal(channels[3], 1.0)
        inputs = {"q": q, "k": k, "v": v, "x": x}
        return inputs, attributes, lambda: reference_ops.position_attention(q, k, v, x)
    x = normal(channels[0], (_LARGE_ENERGY / np.prod(_POSITIONS)) ** 0.5 if "slices" in attributes else 4.0)
    if node.op_type == ops.CHANNEL_ENERGY:
        slices = min(attributes["slices"], 3)
        attributes["slices"] = slices
        return {"x": x}, attributes, lambda: reference_ops.channel_energy(x, slices)
    size = (_POSITIONS[0] * 8 + 1, _POSITIONS[1] * 8 + 1)
    attributes["height"], attributes["width"] = size
    return (
        {"x": x},
        attributes,
        lambda: reference_ops.upsample_argmax(x, size, bool(attributes["align_corners"])),
    )


def run_body(
    body: onnx.FunctionProto, inputs: Inputs, attributes: Mapping[str, Any], precision: Precision
) -> npt.NDArray[np.float64]:
    """One custom node with its function body, computed in the type of its inputs.

    Args:
        body: The operator's function.
        inputs: By any name, in the operator's order.
        attributes: The node's.
        precision: ``fp16`` for onnx's reference evaluator, ``fp32`` for ONNX Runtime.
    """
    kind = helper.np_dtype_to_tensor_dtype(next(iter(inputs.values())).dtype)
    output_kind = onnx.TensorProto.FLOAT if body.name == ops.CHANNEL_ENERGY else kind
    node = helper.make_node(body.name, list(inputs), ["result"], domain=ops.DOMAIN, **attributes)
    graph = helper.make_graph(
        [node],
        body.name,
        [helper.make_tensor_value_info(name, kind, array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info("result", output_kind, None)],
    )
    opsets = [
        *(item for item in body.opset_import if item.domain == ""),
        helper.make_opsetid(ops.DOMAIN, 1),
    ]
    model = helper.make_model(graph, opset_imports=opsets, functions=[body], ir_version=10)
    if precision == "fp16":
        with np.errstate(all="ignore"):  # a wrong body overflows: that is what is looked for
            results: Any = ReferenceEvaluator(model).run(["result"], inputs)
            return np.asarray(results[0], np.float64)
    session = open_session(model.SerializeToString())
    return np.asarray(session.run(["result"], inputs)[0], np.float64)
