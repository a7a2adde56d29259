"""Other bodies for the same operators: those that TensorRT fuses by itself, without a plugin.

A lowering is a choice of function bodies, not another graph. The bodies here use ONNX's ``Attention`` (opset
23), which TensorRT for RTX and TensorRT from 10.14 on fuse: no N x N map is stored. They are kept in the
bundle as a file of functions and their opset alone; put behind a model without those, it makes the native
model, because the concatenation of two protobuf messages is their union.

Two facts shape them, both measured with TensorRT for RTX 1.7.1 on DANet-R50 at 1024x2048 in FP16, where the
reference bodies need 6600 MiB of activations:

- ``Attention`` wants queries, keys and values of one width (64, 64, 512 are refused). So the values are cut
  into pieces as wide as a query, one a head, and all heads share queries and keys. It computes the energies
  once a head: 1024 instead of 576 multiply-adds a pair of positions.
- CAM's energies need FP32 and with it copies of X in FP32. One MatMul over all positions leaves 529 MiB; one
  MatMul a slice, each with its own small copies, leaves 384 MiB, 48 more than the network without attention
  (``benchmarks/activation_memory.py`` has both).

Every size is a constant: the bodies belong to one bundle.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import parser

from danet_export.graph.geometry import Geometry
from danet_export.ops import attention_ops as ops
from danet_train.model.config import DANetConfig

OPSET = 23
"""The first with ``Attention``."""

WIDTH_MULTIPLE = 16
"""TensorRT for RTX has fused kernels for heads of 16 channels and multiples; 8 are refused."""

_HEADER = f'<domain: "{ops.DOMAIN}", opset_import: ["" : {OPSET}]>\n'


@dataclass(frozen=True)
class NativeShapes:
    """The sizes that the bodies are written for.

    Attributes:
        d_qk: Channels of queries and keys.
        channels: Channels of the values and of CAM's X.
        tokens: N, positions.
        align_corners: How the logits are upsampled.
    """

    d_qk: int
    channels: int
    tokens: int
    align_corners: bool

    @classmethod
    def of_network(cls, config: DANetConfig, geometry: Geometry) -> NativeShapes:
        """The sizes of one network at one size."""
        return cls(config.attention_channels, config.head_channels, geometry.tokens, geometry.align_corners)


def native_functions(shapes: NativeShapes) -> bytes:
    """The bodies as a file: an ONNX model that holds functions and nothing else."""
    upsample = ops.function_body(ops.UPSAMPLE_ARGMAX, shapes.align_corners)
    upsample.opset_import[0].version = OPSET
    functions = [
        parser.parse_function(_HEADER + _position_attention(shapes)),
        parser.parse_function(_HEADER + _channel_energy(shapes)),
        upsample,
    ]
    opset = onnx.OperatorSetIdProto(version=OPSET)
    content: bytes = onnx.ModelProto(functions=functions, opset_import=[opset]).SerializeToString()
    return content


def _position_attention(shapes: NativeShapes) -> str:
    width = -(-shapes.d_qk // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    heads = -(-shapes.channels // width)
    padded = heads * width
    return f"""
PositionAttention <plugin_namespace, plugin_version>
  (danet_pa_q, danet_pa_k, danet_pa_v, danet_pa_x) => (danet_pa_y)
{{
  danet_pa_flat = Constant <value_ints = [0, 0, -1]> ()
  danet_pa_one = Constant <value_ints = [0, 1, {width}, -1]> ()
  danet_pa_heads = Constant <value_ints = [0, {heads}, {width}, -1]> ()
  {_widened("q", shapes.d_qk, width)}
  {_widened("k", shapes.d_qk, width)}
  {_widened("v", shapes.channels, padded)}
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
  {_narrowed("o", shapes.channels, padded)}
  danet_pa_shape = Shape (danet_pa_x)
  danet_pa_context = Reshape (danet_pa_on, danet_pa_shape)
  danet_pa_y = Add (danet_pa_context, danet_pa_x)
}}
"""


def _widened(name: str, channels: int, width: int) -> str:
    """``NAMEw`` (B, width, N) from ``NAME`` (B, channels, h, w): zeros change no energy and no kept value."""
    flat = f"Reshape (danet_pa_{name}, danet_pa_flat)"
    if channels == width:
        return f"danet_pa_{name}w = {flat}"
    return f"""danet_pa_{name}3 = {flat}
  danet_pa_{name}pads = Constant <value_ints = [0, 0, 0, 0, {width - channels}, 0]> ()
  danet_pa_{name}w = Pad (danet_pa_{name}3, danet_pa_{name}pads)"""


def _narrowed(name: str, channels: int, width: int) -> str:
    """``NAMEn`` (B, channels, N) from ``NAMEw`` (B, width, N)."""
    if channels == width:
        return f"danet_pa_{name}n = Identity (danet_pa_{name}w)"
    return f"""danet_pa_start = Constant <value_ints = [0]> ()
  danet_pa_end = Constant <value_ints = [{channels}]> ()
  danet_pa_axis = Constant <value_ints = [1]> ()
  danet_pa_{name}n = Slice (danet_pa_{name}w, danet_pa_start, danet_pa_end, danet_pa_axis)"""


def _channel_energy(shapes: NativeShapes) -> str:
    slices = ops.energy_slices(shapes.tokens)
    length = ops.slice_length(shapes.tokens, slices)
    lengths = [length] * (slices - 1) + [shapes.tokens - length * (slices - 1)]
    names = [f"danet_ce_s{index}" for index in range(slices)]
    lines = [
        f"danet_ce_rows = Constant <value_ints = [0, 1, {shapes.channels}, -1]> ()",
        "danet_ce_x4 = Reshape (danet_ce_x, danet_ce_rows)",
        f"danet_ce_lengths = Constant <value_ints = [{', '.join(map(str, lengths))}]> ()",
        f"{', '.join(names)} = Split <axis = 3> (danet_ce_x4, danet_ce_lengths)",
    ]
    for index, name in enumerate(names):
        lines += [
            f"danet_ce_l{index} = Cast <to = 1> ({name})",
            f"danet_ce_r{index} = Transpose <perm = [0, 1, 3, 2]> (danet_ce_l{index})",
            f"danet_ce_e{index} = MatMul (danet_ce_l{index}, danet_ce_r{index})",
        ]
    energies = ", ".join(f"danet_ce_e{index}" for index in range(slices))
    lines.append(f"danet_ce_y = Concat <axis = 1> ({energies})")
    body = "\n  ".join(lines)
    return f"""
ChannelEnergy <slices, plugin_namespace, plugin_version> (danet_ce_x) => (danet_ce_y)
{{
  {body}
}}
"""
