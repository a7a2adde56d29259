"""The three custom ONNX operators of the domain ``danet``: names, attributes and function bodies.

Each operator is a named node with ``plugin_namespace`` and ``plugin_version``, so that TensorRT's parser
finds a plugin, and has a model-local function of standard operators as its body, so that everything without
a plugin runs the same file. A body takes its energies in FP32: unscaled energies pass FP16's 65504. Inner
names are unique, because TensorRT 10.1's importer binds an inner name to an outer tensor of the same name.

==================  ==========================================  =========================================
operator            inputs                                      output
==================  ==========================================  =========================================
PositionAttention   q, k (B, d_qk, h, w), v, x (B, d_v, h, w)   softmax(Q^T K) V + x, as v  [1, eq. 1 and 2]
ChannelAttention    x (B, C, h, w), gamma (1)                   gamma softmax(-X X^T) X + x  [1, eq. 3 and 4]
UpsampleArgmax      logits (B, C, h, w)                         class index (B, height, width), as logits
==================  ==========================================  =========================================

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
CHANNEL_ATTENTION = "ChannelAttention"
UPSAMPLE_ARGMAX = "UpsampleArgmax"

PLUGIN_ATTRIBUTES = {"plugin_namespace": DOMAIN, "plugin_version": "1"}
"""Attributes by which TensorRT's parser looks a plugin up."""

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

_CHANNEL_ATTENTION_BODY = """
ChannelAttention <plugin_namespace, plugin_version> (danet_ca_x, danet_ca_gamma) => (danet_ca_y)
{
  danet_ca_flat = Constant <value_ints = [0, 0, -1]> ()
  danet_ca_x3 = Reshape (danet_ca_x, danet_ca_flat)
  danet_ca_x32 = Cast <to = 1> (danet_ca_x3)
  danet_ca_xt = Transpose <perm = [0, 2, 1]> (danet_ca_x32)
  danet_ca_energy = MatMul (danet_ca_x32, danet_ca_xt)
  danet_ca_negative = Neg (danet_ca_energy)
  danet_ca_map32 = Softmax <axis = 2> (danet_ca_negative)
  danet_ca_map = CastLike (danet_ca_map32, danet_ca_x3)
  danet_ca_context3 = MatMul (danet_ca_map, danet_ca_x3)
  danet_ca_shape = Shape (danet_ca_x)
  danet_ca_context = Reshape (danet_ca_context3, danet_ca_shape)
  danet_ca_scaled = Mul (danet_ca_context, danet_ca_gamma)
  danet_ca_y = Add (danet_ca_scaled, danet_ca_x)
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
    texts = (_POSITION_ATTENTION_BODY, _CHANNEL_ATTENTION_BODY, _UPSAMPLE_ARGMAX_BODY.format(mode=mode))
    return [parser.parse_function(_HEADER + text) for text in texts]


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
