"""Function bodies, which compute a custom node where there is no plugin.

Each operator is a named node with ``plugin_namespace`` and ``plugin_version``, so that TensorRT's parser
finds a plugin, and has a model-local function of standard operators as its body, so that everything without
a plugin runs the same file. A body takes its energies in FP32: unscaled energies pass FP16's 65504. Inner
names are unique, because TensorRT 10.1's importer binds an inner name to an outer tensor of the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import onnx
from onnx import parser

from danet_runtime.bundle.operators import NAMESPACE, PLUGIN_ATTRIBUTES, OperatorSpec

BODY_OPSET: Final = 20
"""Version of the standard operators that bodies use."""

NATIVE_OPSET: Final = 23
"""Version of the standard operators that native bodies use: the first with ``Attention``."""


def parse_body(
    spec: OperatorSpec, prefix: str, inputs: Sequence[str], statements: str, opset: int = BODY_OPSET
) -> onnx.FunctionProto:
    """Parse a body from statements in ONNX's text format.

    Args:
        spec: The operator.
        prefix: Prefix of every inner name; ``_`` follows it.
        inputs: Inner names of the inputs, without the prefix.
        statements: Statements that compute ``PREFIX_y`` from every ``PREFIX_INPUT``.
        opset: Version of the standard operators.
    """
    attributes = ", ".join((*spec.attributes, *PLUGIN_ATTRIBUTES))
    taken = ", ".join(f"{prefix}_{name}" for name in inputs)
    return parser.parse_function(
        f'<domain: "{NAMESPACE}", opset_import: ["" : {opset}]>\n'
        f"{spec.name} <{attributes}> ({taken}) => ({prefix}_y)\n{{{statements}}}\n"
    )
