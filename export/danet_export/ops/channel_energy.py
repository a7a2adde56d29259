"""ChannelEnergy: partial sums of X X^T, the part of CAM that needs a kernel [Fu et al., CVPR 2019, eq. 3]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from danet_export.ops.catalogue import LARGE_ENERGY, POSITIONS, Drawing, Example
from danet_export.ops.exact import Float64Array, flat
from danet_export.ops.execution import KernelInputError, check, gpu, launch, on_gpu
from danet_export.ops.function_body import NATIVE_OPSET, parse_body
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS, SLICE_GRANULE, Sizes, slice_length

SPEC: Final = OPERATORS["ChannelEnergy"]

_PREFIX: Final = "danet_ce"

_BODY: Final = f"""
  danet_ce_flat = Constant <value_ints = [0, 0, -1]> ()
  danet_ce_x3 = Reshape (danet_ce_x, danet_ce_flat)
  danet_ce_tokens = Shape <start = 2, end = 3> (danet_ce_x3)
  danet_ce_slices0 = Constant <value_int: int = @slices> ()
  danet_ce_axis0 = Constant <value_ints = [0]> ()
  danet_ce_slices = Unsqueeze (danet_ce_slices0, danet_ce_axis0)
  danet_ce_granule = Constant <value_ints = [{SLICE_GRANULE}]> ()
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
"""


def body(_attributes: Mapping[str, Any]) -> onnx.FunctionProto:
    """Return the function body."""
    return parse_body(SPEC, _PREFIX, SPEC.inputs, _BODY)


def native_body(sizes: Sizes) -> onnx.FunctionProto:
    """Return a body with one MatMul per slice, each with its own small copies in FP32.

    At 1024x2048 one MatMul over all positions leaves 529 MiB of activations, and this one 384 MiB, 48 more
    than the network without attention (``benchmarks/engines/activation_memory.py`` has both).
    """
    slices, tokens = sizes["slices"], sizes["tokens"]
    length = slice_length(tokens, slices)
    lengths = [length] * (slices - 1) + [tokens - length * (slices - 1)]
    names = [f"danet_ce_s{index}" for index in range(slices)]
    lines = [
        f"danet_ce_rows = Constant <value_ints = [0, 1, {sizes['channels']}, -1]> ()",
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
    return parse_body(SPEC, _PREFIX, SPEC.inputs, "\n".join(lines), NATIVE_OPSET)


def reference(inputs: Mapping[str, npt.ArrayLike], attributes: Mapping[str, Any]) -> Float64Array:
    """Compute X X^T of eq. 3 in partial sums, in float64.

    Args:
        inputs: x (B, C, h, w).
        attributes: ``slices``, S; the positions are cut into S runs of a multiple of 16 positions, the last
            one shorter.

    Returns:
        (B, S, C, C); its sum over S is X X^T.
    """
    features = flat(inputs["x"])
    slices = attributes["slices"]
    length = slice_length(features.shape[2], slices)
    cut = (features[:, :, start * length : (start + 1) * length] for start in range(slices))
    return np.stack([part @ part.transpose(0, 2, 1) for part in cut], axis=1)


def example(channels: Sequence[int], attributes: Mapping[str, Any], drawing: Drawing) -> Example:
    """Return features whose energies on the diagonal reach :data:`LARGE_ENERGY`; at most three slices."""
    x = drawing.normal(channels[0], float((LARGE_ENERGY / np.prod(POSITIONS)) ** 0.5))
    few = {**attributes, "slices": min(attributes["slices"], 3)}
    return Example({"x": x}, few, lambda: reference({"x": x}, few))


@torch.library.custom_op(f"{NAMESPACE}::{SPEC.stem}", mutates_args=())
def channel_energy(features: Tensor, slices: int) -> Tensor:
    """Compute partial sums of X X^T over slices of the positions.

    Args:
        features: (B, C, h, w), FP16 or BF16, contiguous.
        slices: S, at least 1 (:func:`danet_runtime.bundle.operators.energy_slices`).

    Returns:
        (B, S, C, C) FP32; its sum over S is X X^T.

    Raises:
        KernelInputError: The tensor or S does not fit; or a CPU tensor outside
            :func:`danet_export.ops.execution.plain_ops`.
    """
    check("features", features, features)
    batch, channels, height, width = features.shape
    tokens = height * width
    if not 1 <= slices <= tokens:
        raise KernelInputError(f"slices must be 1 to {tokens}, the number of positions (got {slices})")
    if not on_gpu(features):
        whole = slices * slice_length(tokens, slices)
        padded = F.pad(features.flatten(2).float(), (0, whole - tokens))
        parts = padded.view(batch, channels, slices, -1).transpose(1, 2)  # (B, S, C, length)
        return parts @ parts.transpose(2, 3)
    from danet_export.kernels import channel_energy as kernel

    sizes = SPEC.sizes([features.shape], {"slices": slices})
    output = features.new_empty((batch, slices, channels, channels), dtype=torch.float32)
    launch(kernel.specify(sizes, *gpu(features)), features, output)
    return output


@channel_energy.register_fake
def _(features: Tensor, slices: int) -> Tensor:
    batch, channels = features.shape[:2]
    return features.new_empty((batch, slices, channels, channels), dtype=torch.float32)
