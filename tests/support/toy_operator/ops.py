"""Halve: x / 2, which changes no label when it is done to logits; the export's part of the toy operator."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from danet_export.ops.catalogue import Example
from danet_export.ops.execution import check, gpu, launch, on_gpu
from danet_export.ops.function_body import BODY_OPSET, NATIVE_OPSET, parse_body
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS

SPEC = OPERATORS["Halve"]

_BODY = """
  danet_ha_half32 = Constant <value = float {0.5}> ()
  danet_ha_half = CastLike (danet_ha_half32, danet_ha_x)
  danet_ha_y = Mul (danet_ha_x, danet_ha_half)
"""


def body(_attributes, opset=BODY_OPSET):
    return parse_body(SPEC, "danet_ha", SPEC.inputs, _BODY, opset)


def native_body(sizes):
    return body(sizes, NATIVE_OPSET)


def reference(inputs, _attributes):
    return np.asarray(inputs["x"], np.float64) / 2


def example(channels, attributes, drawing):
    x = drawing.normal(channels[0], 1.0)
    return Example({"x": x}, attributes, lambda: reference({"x": x}, attributes))


@torch.library.custom_op(f"{NAMESPACE}::{SPEC.stem}", mutates_args=())
def halve(x: Tensor) -> Tensor:
    check("x", x, x)
    if not on_gpu(x):
        return (x.float() / 2).to(x.dtype)
    from danet_export.kernels import halve as kernel

    output = torch.empty_like(x)
    launch(kernel.specify(SPEC.sizes([x.shape], {}), *gpu(x)), x, output)
    return output


@halve.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)
