"""Function bodies of the operators that TensorRT fuses by itself, without a plugin.

A lowering is a choice of function bodies, not another graph. The bodies here use ONNX's ``Attention`` (opset
23), which TensorRT for RTX and TensorRT from 10.14 on fuse: no N x N map is stored. They are kept in the
bundle as a file of functions and their opset alone; put behind a model without those, it makes the native
model, because the concatenation of two protobuf messages is their union.

Their form follows measurements with TensorRT for RTX 1.7.1 on DANet-R50 at 1024x2048 in FP16, where the
reference bodies need 6600 MiB of activations; each body names its own. Every size is a constant: the bodies
belong to one bundle.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from danet_export.ops.catalogue import code_of
from danet_export.ops.function_body import NATIVE_OPSET
from danet_runtime.bundle.operators import Operator, Sizes


def native_functions(sizes: Mapping[Operator, Sizes]) -> bytes:
    """Return the bodies as a file: an ONNX model that holds functions and nothing else.

    Args:
        sizes: Sizes of each operator's node (:func:`danet_export.graph.wrapper.operator_sizes`).
    """
    functions = [code_of(operator).native_body(of_it) for operator, of_it in sizes.items()]
    opset = onnx.OperatorSetIdProto(version=NATIVE_OPSET)
    content: bytes = onnx.ModelProto(functions=functions, opset_import=[opset]).SerializeToString()
    return content
