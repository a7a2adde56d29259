"""The three custom ONNX operators of the domain ``danet``: names, attributes and function bodies.

Each operator is a named node with ``plugin_namespace`` and ``plugin_version``, so that TensorRT's parser
finds a plugin, and has a model-local function of standard operators as its body, so that everything without
a plugin runs the same file. A body takes its energies in FP32: unscaled energies pass FP16's 65504. Inner
names are unique, because TensorRT 10.1's importer binds an inner name to an outer tensor of the same name.

==================  ==========================================  =========================================
operator            inputs                                      output
==================  ==========================================  =========================================
PositionAttention   q, k (B, d_qk, h, w), v, x (B, d_v, h, w)   softmax(Q^T K) V + x, as v  [1, eq. 1 and 2]
ChannelEnergy       x (B, C, h, w)                              partial sums of X X^T (B, S, C, C), FP32
UpsampleArgmax      logits (B, C, h, w)                         class index (B, height, width), as logits
==================  ==========================================  =========================================

ChannelEnergy is the part of CAM that needs a kernel: a sum over all positions, beyond FP16's range, that no
MatMul of a strongly typed network gives without FP32 copies of X. It comes in S slices of the positions,
which the network adds up (:func:`energy_slices`); softmax(-E) X, gamma and the residual [1, eq. 3 and 4] are
standard operators behind it.

[1] Fu et al., Dual Attention Network for Scene Segmentation, CVPR 2019. Both reference codebases use -E in
eq. 3 where the paper prints +E. PAM's gamma is folded into the value projection before export.
"""

from __future__ import annotations

import onnx
from onnx import parser

DOMAIN = "danet"
BODY_OPSET = 20
"""Version of the standard operators that the function bodies use."""

POSITION_ATTENTION = "PositionAttention"
CHANNEL_ENERGY = "ChannelEnergy"
UPSAMPLE_ARGMAX = "UpsampleArgmax"

PLUGIN_ATTRIBUTES = {"plugin_namespace": DOMAIN, "plugin_version": "1"}
"""Attributes by which TensorRT's parser looks a plugin up."""

MOST_SLICES = 16
LEAST_SLICE_TOKENS = 512
SLICE_GRANULE = 16
"""Slices begin at multiples of 16 positions, so that a kernel can load them in wide words."""

_HEADER = f'<domain: "{DOMAIN}", opset_import: ["" : {BODY_OPSET}]>\n'

_POSITION_ATTENTION_BODY = """
PositionAttention <plugin_namespace, plugin_version>
  (danet_pa_q, danet_pa_k, danet_pa_v, danet_pa_x) => (danet_pa_y)
{
  danet_pa_flat = Constant <value_ints = [0, 0, -1]> ()
  danet_pa_q3 = Reshape (danet_pa_q, danet_pa_flat)
  danet_pa_k3 = Reshape (danet_pa_k, danet_pa_flat)
  danet_pa_v3 = Reshape (danet_pa_v, danet_pa_flat)
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
}
"""

_CHANNEL_ENERGY_BODY = """
ChannelEnergy <slices, plugin_namespace, plugin_version> (danet_ce_x) => (danet_ce_y)
{
  danet_ce_flat = Constant <value_ints = [0, 0, -1]> ()
  danet_ce_x3 = Reshape (danet_ce_x, danet_ce_flat)
  danet_ce_tokens = Shape <start = 2, end = 3> (danet_ce_x3)
  danet_ce_slices0 = Constant <value_int: int = @slices> ()
  danet_ce_axis0 = Constant <value_ints = [0]> ()
  danet_ce_slices = Unsqueeze (danet_ce_slices0, danet_ce_axis0)
  danet_ce_granule = Constant <value_ints = [GRANULE]> ()
  danet_ce_one = Constant <value_ints = [1]> ()
  danet_ce_round = Mul (danet_ce_slices, danet_ce_granule)
  danet_ce_round1 = Sub (danet_ce_round, danet_ce_one)
  danet_ce_raised = Add (danet_ce_tokens, danet_ce_round1)
  danet_ce_granules = Div (danet_ce_raised, danet_ce_round)
  danet_ce_length = Mul (danet_ce_granules, danet_ce_granule)
  danet_ce_whole = Mul (danet_ce_length, danet_ce_slices)
  danet_ce_missing = Sub (danet_ce_whole, danet_ce_tokens)
  danet_ce_none = Constant <value_ints = [0]> ()
  danet_ce_pads = Concat <axis = 0> (
    danet_ce_none, danet_ce_none, danet_ce_none, danet_ce_none, danet_ce_none, danet_ce_missing)
  danet_ce_padded = Pad (danet_ce_x3, danet_ce_pads)
  danet_ce_keep = Constant <value_ints = [0, 0]> ()
  danet_ce_cut = Concat <axis = 0> (danet_ce_keep, danet_ce_slices, danet_ce_length)
  danet_ce_x4 = Reshape (danet_ce_padded, danet_ce_cut)
  danet_ce_sliced = Transpose <perm = [0, 2, 1, 3]> (danet_ce_x4)
  danet_ce_left = Cast <to = 1> (danet_ce_sliced)
  danet_ce_right = Transpose <perm = [0, 1, 3, 2]> (danet_ce_left)
  danet_ce_y = MatMul (danet_ce_left, danet_ce_right)
}
"""

_UPSAMPLE_ARGMAX_BODY = """
UpsampleArgmax <height, width, align_corners, plugin_namespace, plugin_version> (danet_ua_x) => (danet_ua_y)
{{
  danet_ua_batch_channels = Shape <start = 0, end = 2> (danet_ua_x)
  danet_ua_h = Constant <value_int: int = @height> ()
  danet_ua_w = Constant <value_int: int = @width> ()
  danet_ua_axis = Constant <value_ints = [0]> ()
  danet_ua_h1 = Unsqueeze (danet_ua_h, danet_ua_axis)
  danet_ua_w1 = Unsqueeze (danet_ua_w, danet_ua_axis)
  danet_ua_size = Concat <axis = 0> (danet_ua_batch_channels, danet_ua_h1, danet_ua_w1)
  danet_ua_up = Resize <mode = "linear", coordinate_transformation_mode = "{mode}">
    (danet_ua_x, , , danet_ua_size)
  danet_ua_index = ArgMax <axis = 1, keepdims = 0> (danet_ua_up)
  danet_ua_y = CastLike (danet_ua_index, danet_ua_x)
}}
"""


def function_bodies(align_corners: bool) -> list[onnx.FunctionProto]:
    """The bodies of the three operators, for one model.

    Args:
        align_corners: How the logits are upsampled; must equal the attribute of the model's UpsampleArgmax,
            which a function cannot turn into the string that Resize wants.
    """
    mode = "align_corners" if align_corners else "half_pixel"
    texts = (
        _POSITION_ATTENTION_BODY,
        _CHANNEL_ENERGY_BODY.replace("GRANULE", str(SLICE_GRANULE)),
        _UPSAMPLE_ARGMAX_BODY.format(mode=mode),
    )
    return [parser.parse_function(_HEADER + text) for text in texts]


def function_body(operator: str, align_corners: bool) -> onnx.FunctionProto:
    """The body of one operator; see :func:`function_bodies`."""
    return next(body for body in function_bodies(align_corners) if body.name == operator)


def upsample_argmax_attributes(size_hw: tuple[int, int], align_corners: bool) -> dict[str, int | str]:
    """The attributes of one UpsampleArgmax node.

    The output holds the class index in the type of the logits, which is exact up to 2048 classes in FP16.
    """
    return {
        **PLUGIN_ATTRIBUTES,
        "height": size_hw[0],
        "width": size_hw[1],
        "align_corners": int(align_corners),
    }


def energy_slices(tokens: int) -> int:
    """S: into how many slices ChannelEnergy cuts N positions.

    As many as keep all multiprocessors busy together with the tiles of a slice (10 at C = 512), each of at
    least 512 positions, for its sum is written once and read once: 16 MiB in 16 slices at C = 512.
    """
    return max(1, min(MOST_SLICES, tokens // LEAST_SLICE_TOKENS))


def slice_length(tokens: int, slices: int) -> int:
    """Positions of one slice, a multiple of :data:`SLICE_GRANULE`; the last one ends in zeros."""
    return -(-tokens // (slices * SLICE_GRANULE)) * SLICE_GRANULE


def channel_energy_attributes(tokens: int) -> dict[str, int | str]:
    """The attributes of one ChannelEnergy node over N positions."""
    return {**PLUGIN_ATTRIBUTES, "slices": energy_slices(tokens)}
