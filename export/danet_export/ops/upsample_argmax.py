"""UpsampleArgmax: logits upsampled to the frame's size, and the class with the largest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from danet_export.ops.catalogue import POSITIONS, Drawing, Example
from danet_export.ops.exact import Float64Array
from danet_export.ops.execution import DTYPES, KernelInputError, check, gpu, launch, on_gpu
from danet_export.ops.function_body import BODY_OPSET, NATIVE_OPSET, parse_body
from danet_runtime.bundle.operators import MOST_CLASSES, NAMESPACE, OPERATORS, Sizes

SPEC: Final = OPERATORS["UpsampleArgmax"]

_BODY: Final = """
  danet_ua_batch_channels = Shape <start = 0, end = 2> (danet_ua_x)
  danet_ua_h = Constant <value_int: int = @height> ()
  danet_ua_w = Constant <value_int: int = @width> ()
  danet_ua_axis = Constant <value_ints = [0]> ()
  danet_ua_h1 = Unsqueeze (danet_ua_h, danet_ua_axis)
  danet_ua_w1 = Unsqueeze (danet_ua_w, danet_ua_axis)
  danet_ua_size = Concat <axis = 0> (danet_ua_batch_channels, danet_ua_h1, danet_ua_w1)
  danet_ua_up = Resize <mode = "linear", coordinate_transformation_mode = "MODE">
    (danet_ua_x, , , danet_ua_size)
  danet_ua_index = ArgMax <axis = 1, keepdims = 0> (danet_ua_up)
  danet_ua_y = CastLike (danet_ua_index, danet_ua_x)
"""


def body(attributes: Mapping[str, Any], opset: int = BODY_OPSET) -> onnx.FunctionProto:
    """Return the function body.

    Args:
        attributes: The node's ``align_corners``, which a function cannot turn into the string that Resize
            wants.
        opset: Version of the standard operators.
    """
    mode = "align_corners" if attributes["align_corners"] else "half_pixel"
    return parse_body(SPEC, "danet_ua", ("x",), _BODY.replace("MODE", mode), opset)


def native_body(sizes: Sizes) -> onnx.FunctionProto:
    """Return the same body: there is nothing to fuse."""
    return body(sizes, NATIVE_OPSET)


def reference(
    inputs: Mapping[str, npt.ArrayLike],
    attributes: Mapping[str, Any],
    dtype: type[np.float32] | type[np.float64] = np.float64,
) -> Float64Array:
    """Compute bilinear upsampling and the class with the largest logit, the lowest class at a tie.

    Args:
        inputs: logits (B, C, h, w).
        attributes: ``height`` and ``width`` of the result; ``align_corners``: whether the outermost samples
            of both grids coincide, or their outer edges.
        dtype: Type of the interpolation; each operation is rounded to it.

    Returns:
        (B, height, width), whole numbers.
    """
    values = np.asarray(inputs["logits"], dtype)
    for axis, size in ((3, attributes["width"]), (2, attributes["height"])):
        values = _interpolate(values, axis, size, bool(attributes["align_corners"]))
    return np.asarray(values.argmax(axis=1), np.float64)


def _interpolate(values: npt.NDArray[Any], axis: int, size: int, align_corners: bool) -> npt.NDArray[Any]:
    """Interpolate at positions that are exact fractions; only the weights are rounded."""
    length = values.shape[axis]
    out = np.arange(size)
    if align_corners:
        numerator, denominator = out * (length - 1), max(1, size - 1)
    else:
        numerator, denominator = np.maximum((2 * out + 1) * length - size, 0), 2 * size
    low = np.minimum(numerator // denominator, length - 1)
    high = np.minimum(low + 1, length - 1)
    shape = [1] * values.ndim
    shape[axis] = size
    weight = ((numerator % denominator).astype(values.dtype) / values.dtype.type(denominator)).reshape(shape)
    one = values.dtype.type(1)
    return np.asarray(values.take(low, axis) * (one - weight) + values.take(high, axis) * weight)


def example(channels: Sequence[int], attributes: Mapping[str, Any], drawing: Drawing) -> Example:
    """Return logits with a deviation of 4, upsampled eight times."""
    logits = drawing.normal(channels[0], 4.0)
    height, width = (extent * 8 + 1 for extent in POSITIONS)
    fitted = {**attributes, "height": height, "width": width}
    return Example({"logits": logits}, fitted, lambda: reference({"logits": logits}, fitted))


@torch.library.custom_op(f"{NAMESPACE}::{SPEC.stem}", mutates_args=())
def upsample_argmax(logits: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """Compute bilinear upsampling and the class with the largest logit, the lowest at a tie.

    Args:
        logits: (B, C, h, w), FP16 or BF16, contiguous; C up to 2048 in FP16 and 256 in BF16.
        height: Height of the labels.
        width: Width of the labels.
        align_corners: Whether the outermost samples of both grids coincide, or their outer edges.

    Returns:
        (B, height, width), whole numbers in the type of the logits.

    Raises:
        KernelInputError: The tensor or the size does not fit; or a CPU tensor outside
            :func:`danet_export.ops.execution.plain_ops`.
    """
    check("logits", logits, logits)
    batch, classes = logits.shape[:2]
    most = MOST_CLASSES[DTYPES[logits.dtype]]
    if classes > most:
        raise KernelInputError(f"logits of {logits.dtype} must have at most {most} classes (got {classes})")
    if min(height, width) < 1:
        raise KernelInputError(f"the size of the labels must be positive (got {height}x{width})")
    if not on_gpu(logits):
        scores = F.interpolate(logits.float(), (height, width), mode="bilinear", align_corners=align_corners)
        return scores.argmax(1).to(logits.dtype)
    from danet_export.kernels import upsample_argmax as kernel

    attributes = {"height": height, "width": width, "align_corners": int(align_corners)}
    output = logits.new_empty((batch, height, width))
    launch(kernel.specify(SPEC.sizes([logits.shape], attributes), *gpu(logits)), logits, output)
    return output


@upsample_argmax.register_fake
def _(logits: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    return logits.new_empty((logits.shape[0], height, width))
