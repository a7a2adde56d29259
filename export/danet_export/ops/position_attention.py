"""PositionAttention: softmax(Q^T K) V + x, PAM behind its projections [Fu et al., CVPR 2019, eq. 1 and 2]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from danet_export.ops.catalogue import LARGE_ENERGY, Drawing, Example
from danet_export.ops.exact import Float64Array, flat, softmax
from danet_export.ops.execution import KernelInputError, check, gpu, launch, on_gpu, shape_of
from danet_export.ops.function_body import NATIVE_OPSET, parse_body
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS, Sizes

SPEC: Final = OPERATORS["PositionAttention"]

WIDTH_MULTIPLE: Final = 16
"""TensorRT for RTX has fused kernels for heads of 16 channels and multiples; 8 are refused."""

_PREFIX: Final = "danet_pa"

_BODY: Final = """
  danet_pa_q32 = Cast <to = 1> (danet_pa_q3)
  danet_pa_k32 = Cast <to = 1> (danet_pa_k3)
  danet_pa_qt = Transpose <perm = [0, 2, 1]> (danet_pa_q32)
  danet_pa_energy = MatMul (danet_pa_qt, danet_pa_k32)
  danet_pa_map32 = Softmax <axis = 2> (danet_pa_energy)
  danet_pa_map = CastLike (danet_pa_map32, danet_pa_v3)
  danet_pa_mapt = Transpose <perm = [0, 2, 1]> (danet_pa_map)
  danet_pa_context3 = MatMul (danet_pa_v3, danet_pa_mapt)
  danet_pa_shape = Shape (danet_pa_x)
  danet_pa_context = Reshape (danet_pa_context3, danet_pa_shape)
  danet_pa_y = Add (danet_pa_context, danet_pa_x)
"""


def body(attributes: Mapping[str, Any]) -> onnx.FunctionProto:
    """Return the function body, which stores the N x N map."""
    rows = "\n  ".join(_rows(name, f"{name}3", attributes) for name in "qkv")
    return parse_body(SPEC, _PREFIX, SPEC.inputs, f"\n  {_rows_constants(attributes)}\n  {rows}{_BODY}")


def native_body(sizes: Sizes) -> onnx.FunctionProto:
    """Return the body around ONNX's ``Attention``, which stores no map where TensorRT fuses it.

    ``Attention`` wants queries, keys and values of one width (64, 64, 512 are refused). So the values are cut
    into pieces as wide as a query, one per head, and all heads share queries and keys. It computes the
    energies once per head: 1024 instead of 576 multiply-adds per pair of positions.
    """
    d_qk, d_v = sizes["d_qk"], sizes["d_v"]
    width = -(-d_qk // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    heads = -(-d_v // width)
    padded = heads * width
    statements = f"""
  {_rows_constants(sizes)}
  danet_pa_one = Constant <value_ints = [0, 1, {width}, -1]> ()
  danet_pa_heads = Constant <value_ints = [0, {heads}, {width}, -1]> ()
  {_widened("q", d_qk, width, sizes)}
  {_widened("k", d_qk, width, sizes)}
  {_widened("v", d_v, padded, sizes)}
  danet_pa_q4 = Reshape (danet_pa_qw, danet_pa_one)
  danet_pa_k4 = Reshape (danet_pa_kw, danet_pa_one)
  danet_pa_v4 = Reshape (danet_pa_vw, danet_pa_heads)
  danet_pa_qt = Transpose <perm = [0, 1, 3, 2]> (danet_pa_q4)
  danet_pa_kt = Transpose <perm = [0, 1, 3, 2]> (danet_pa_k4)
  danet_pa_vt = Transpose <perm = [0, 1, 3, 2]> (danet_pa_v4)
  danet_pa_copies = Constant <value_ints = [1, {heads}, 1, 1]> ()
  danet_pa_qh = Expand (danet_pa_qt, danet_pa_copies)
  danet_pa_kh = Expand (danet_pa_kt, danet_pa_copies)
  danet_pa_o = Attention <scale = 1.0> (danet_pa_qh, danet_pa_kh, danet_pa_vt)
  danet_pa_ot = Transpose <perm = [0, 1, 3, 2]> (danet_pa_o)
  danet_pa_rows = Constant <value_ints = [0, {padded}, -1]> ()
  danet_pa_ow = Reshape (danet_pa_ot, danet_pa_rows)
  {_narrowed("o", d_v, padded)}
  danet_pa_shape = Shape (danet_pa_x)
  danet_pa_context = Reshape (danet_pa_on, danet_pa_shape)
  danet_pa_y = Add (danet_pa_context, danet_pa_x)
"""
    return parse_body(SPEC, _PREFIX, SPEC.inputs, statements, NATIVE_OPSET)


def _rows_constants(sizes: Mapping[str, Any]) -> str:
    """Return statements with what :func:`_rows` needs."""
    flat = "danet_pa_flat = Constant <value_ints = [0, 0, -1]> ()"
    if "pitch" not in sizes:
        return flat
    return f"""{flat}
  danet_pa_first = Constant <value_ints = [0]> ()
  danet_pa_tokens = Constant <value_ints = [{sizes["tokens"]}]> ()
  danet_pa_positions = Constant <value_ints = [2]> ()"""


def _rows(name: str, result: str, sizes: Mapping[str, Any]) -> str:
    """Return statements that flatten ``NAME`` (B, C, h, w) to ``RESULT`` (B, C, N), without its padding."""
    if "pitch" not in sizes:
        return f"danet_pa_{result} = Reshape (danet_pa_{name}, danet_pa_flat)"
    return f"""danet_pa_{name}p = Reshape (danet_pa_{name}, danet_pa_flat)
  danet_pa_{result} = Slice (danet_pa_{name}p, danet_pa_first, danet_pa_tokens, danet_pa_positions)"""


def _widened(name: str, channels: int, width: int, sizes: Sizes) -> str:
    """Return statements that pad ``NAME`` (B, channels, h, w) with zeros to ``NAMEw`` (B, width, N)."""
    if channels == width:
        return _rows(name, f"{name}w", sizes)
    return f"""{_rows(name, f"{name}3", sizes)}
  danet_pa_{name}pads = Constant <value_ints = [0, 0, 0, 0, {width - channels}, 0]> ()
  danet_pa_{name}w = Pad (danet_pa_{name}3, danet_pa_{name}pads)"""


def _narrowed(name: str, channels: int, width: int) -> str:
    """Return statements that cut ``NAMEw`` (B, width, N) to ``NAMEn`` (B, channels, N)."""
    if channels == width:
        return f"danet_pa_{name}n = Identity (danet_pa_{name}w)"
    return f"""danet_pa_start = Constant <value_ints = [0]> ()
  danet_pa_end = Constant <value_ints = [{channels}]> ()
  danet_pa_axis = Constant <value_ints = [1]> ()
  danet_pa_{name}n = Slice (danet_pa_{name}w, danet_pa_start, danet_pa_end, danet_pa_axis)"""


def reference(inputs: Mapping[str, npt.ArrayLike], _attributes: Mapping[str, Any]) -> Float64Array:
    """Compute position attention in float64; the whole map is stored.

    Args:
        inputs: q and k (B, d_qk, h, w), v and x (B, d_v, h, w); gamma is already in v. Positions of q, k
            and v behind x's are padding.

    Returns:
        (B, d_v, h, w): every position is the sum of all positions' values, weighted by
        ``softmax_i(q_j . k_i)``, plus the residual.
    """
    residual = np.asarray(inputs["x"], np.float64)
    tokens = residual.shape[2] * residual.shape[3]
    query, key, value = (flat(inputs[name])[:, :, :tokens] for name in ("q", "k", "v"))
    attention = softmax(query.transpose(0, 2, 1) @ key)  # (B, N, N), row j attends to all i
    context = value @ attention.transpose(0, 2, 1)  # (B, d_v, N)
    return np.asarray(context.reshape(residual.shape) + residual)


def example(channels: Sequence[int], attributes: Mapping[str, Any], drawing: Drawing) -> Example:
    """Return queries and keys whose energies have a deviation of a third of :data:`LARGE_ENERGY`."""
    deviation = (LARGE_ENERGY / 3) ** 0.5 / channels[0] ** 0.25
    deviations = (deviation, deviation, 1.0, 1.0)
    inputs = {
        name: drawing.normal(count, scale)
        for name, count, scale in zip(SPEC.inputs, channels, deviations, strict=True)
    }
    return Example(inputs, attributes, lambda: reference(inputs, attributes))


@torch.library.custom_op(f"{NAMESPACE}::{SPEC.stem}", mutates_args=())
def position_attention(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    """Compute softmax(Q^T K) V + x, gamma already in the values.

    Args:
        query: (B, d_qk, h, w), FP16 or BF16, contiguous.
        key: Same shape and type as the query.
        value: (B, d_v, h, w), of the same type.
        residual: Same shape and type as the value; or (B, d_v, h', w') with fewer positions, where those of
            the others behind the first h' w' are padding.

    Returns:
        Tensor of the residual's shape and type, rounded once from FP32.

    Raises:
        KernelInputError: Shapes, types or devices do not fit; or CPU tensors outside
            :func:`danet_export.ops.execution.plain_ops`.
    """
    _check_inputs(query, key, value, residual)
    if not on_gpu(query):
        tokens = residual[0, 0].numel()
        q, k, v = (part.flatten(2)[:, :, :tokens].float() for part in (query, key, value))
        context = v @ torch.softmax(q.transpose(1, 2) @ k, dim=-1).transpose(1, 2)  # (B, d_v, N)
        return (context.reshape_as(residual) + residual.float()).to(value.dtype)
    from danet_export.kernels import position_attention as kernel

    sizes = SPEC.sizes([part.shape for part in (query, key, value, residual)], {})
    output = torch.empty_like(residual)
    launch(kernel.specify(sizes, *gpu(query)), query, key, value, residual, output)
    return output


@position_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    return torch.empty_like(residual)


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> None:
    check("query", query, query)
    check("key", key, query)
    check("value", value, query)
    check("residual", residual, query)
    if key.shape != query.shape:
        raise KernelInputError(f"key must have the query's shape {shape_of(query)} (got {shape_of(key)})")
    padded = residual.shape[:2] == value.shape[:2] and residual[0, 0].numel() < value[0, 0].numel()
    if residual.shape != value.shape and not padded:
        raise KernelInputError(
            f"residual must have the value's shape {shape_of(value)}, or fewer positions where the others' "
            f"rows are padded (got {shape_of(residual)})"
        )
    if (value.shape[0], *value.shape[2:]) != (query.shape[0], *query.shape[2:]):
        raise KernelInputError(
            f"value must have the query's batch, height and width {shape_of(query)} (got {shape_of(value)})"
        )
