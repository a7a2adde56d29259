"""Comparison of each custom operator of an exported file alone with float64.

The bodies, attributes and channel counts are read from the file; only the number of positions is reduced,
since the reference stores every map. FP32 runs in ONNX Runtime. FP16 runs in onnx's reference evaluator,
which computes in true FP16: with energies beyond 65504, a body that takes them in FP16 gives no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from danet_export.errors import ParityError
from danet_export.ops.catalogue import Drawing, Inputs, code_of
from danet_runtime.backends.onnxruntime_session import open_session
from danet_runtime.bundle import Precision
from danet_runtime.bundle.operators import NAMESPACE, spec_of


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
        model: Model with function bodies and the shapes of the custom nodes' inputs.
        seed: Seed of the random inputs, whose energies go beyond FP16's range.

    Raises:
        ParityError: An operator's error is beyond its limit, or not a number.
    """
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    drawing = Drawing(np.float16 if precision == "fp16" else np.float32, np.random.default_rng(seed))
    results = []
    for node in model.graph.node:
        spec = spec_of(node.domain, node.op_type)
        if spec is None:
            continue
        body = next(body for body in model.functions if body.name == node.op_type)
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        channels = [shapes[name][1] for name in node.input]
        example = code_of(spec.name).example(channels, attributes, drawing)
        got = run_body(body, example.inputs, example.attributes, precision)
        error, limit = spec.error(got, example.expected()), spec.tolerance[precision]
        if not error <= limit:
            raise ParityError(
                f"{node.op_type} in {precision}: error {error:.2e} against float64; expected at most {limit}"
            )
        sizes = tuple(tuple(array.shape) for array in example.inputs.values())
        results.append(OperatorParity(precision, node.op_type, sizes, error, limit))
    return results


def run_body(
    body: onnx.FunctionProto, inputs: Inputs, attributes: Mapping[str, Any], precision: Precision
) -> npt.NDArray[np.float64]:
    """Compute one custom node by its function body, in the type of its inputs.

    Args:
        body: The operator's function.
        inputs: Inputs by any name, in the operator's order.
        attributes: Attributes of the node.
        precision: ``fp16`` for onnx's reference evaluator, ``fp32`` for ONNX Runtime.
    """
    kind = helper.np_dtype_to_tensor_dtype(next(iter(inputs.values())).dtype)
    spec = spec_of(NAMESPACE, body.name)
    output_kind = onnx.TensorProto.FLOAT if spec and spec.output_type == "fp32" else kind
    node = helper.make_node(body.name, list(inputs), ["result"], domain=NAMESPACE, **attributes)
    graph = helper.make_graph(
        [node],
        body.name,
        [helper.make_tensor_value_info(name, kind, array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info("result", output_kind, None)],
    )
    opsets = [
        *(item for item in body.opset_import if item.domain == ""),
        helper.make_opsetid(NAMESPACE, 1),
    ]
    model = helper.make_model(graph, opset_imports=opsets, functions=[body], ir_version=10)
    if precision == "fp16":
        with np.errstate(all="ignore"):  # a wrong body overflows: that is what is looked for
            results: Any = ReferenceEvaluator(model).run(["result"], inputs)
            return np.asarray(results[0], np.float64)
    session = open_session(model.SerializeToString())
    return np.asarray(session.run(["result"], inputs)[0], np.float64)
