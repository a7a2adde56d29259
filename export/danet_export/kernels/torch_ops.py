"""The kernels as PyTorch operators: ``torch.ops.danet.position_attention`` and the two others.

They have no backward: to ask gradients of them raises. Training uses danet_train's own modules.
On CUDA tensors they launch the Triton kernels, tuned for the GPU at hand. On a CPU they raise, unless the
caller has asked for plain PyTorch operators: a comparison that silently ran something else would prove
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danet_export.errors import ExportError
from danet_export.kernels.architectures import ARCHITECTURES, Architecture, KernelVariant
from danet_export.kernels.specification import KernelSpec
from danet_export.ops.attention_ops import slice_length

_plain_ops_allowed: ContextVar[bool] = ContextVar("plain_ops_allowed", default=False)

_LARGEST_EXACT = {torch.float16: 2048, torch.bfloat16: 256}


class KernelInputError(ExportError, ValueError):
    """Tensors that a kernel does not take."""


@contextmanager
def plain_ops() -> Iterator[None]:
    """Within this block the operators accept CPU tensors, and compute them with plain PyTorch operators."""
    token = _plain_ops_allowed.set(True)
    try:
        yield
    finally:
        _plain_ops_allowed.reset(token)


@torch.library.custom_op("danet::position_attention", mutates_args=())
def position_attention(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    """softmax(Q^T K) V + x [Fu et al., CVPR 2019, eq. 1 and 2], gamma already in the values.

    Args:
        query: (B, d_qk, h, w), FP16 or BF16, contiguous.
        key: As the query.
        value: (B, d_v, h, w), of the same type.
        residual: As the value.

    Returns:
        As the value, rounded once from FP32.

    Raises:
        KernelInputError: Shapes, types or devices do not fit; or CPU tensors outside :func:`plain_ops`.
    """
    _check_position_attention(query, key, value, residual)
    if not _on_gpu(query):
        q, k, v = (part.flatten(2).float() for part in (query, key, value))
        context = v @ torch.softmax(q.transpose(1, 2) @ k, dim=-1).transpose(1, 2)  # (B, d_v, N)
        return (context.reshape_as(residual) + residual.float()).to(value.dtype)
    from danet_export.kernels import position_attention as kernel

    batch, d_qk, height, width = query.shape
    spec = kernel.specify(batch, height * width, d_qk, value.shape[1], *_gpu(query))
    output = torch.empty_like(value)
    launch(spec, query, key, value, residual, output)
    return output


@torch.library.custom_op("danet::channel_energy", mutates_args=())
def channel_energy(features: Tensor, slices: int) -> Tensor:
    """Partial sums of X X^T [Fu et al., CVPR 2019, eq. 3] over slices of the positions.

    Args:
        features: (B, C, h, w), FP16 or BF16, contiguous.
        slices: S, at least 1 (:func:`danet_export.ops.attention_ops.energy_slices`).

    Returns:
        (B, S, C, C) FP32; its sum over S is X X^T.

    Raises:
        KernelInputError: The tensor or S does not fit; or a CPU tensor outside :func:`plain_ops`.
    """
    _check("features", features, features)
    batch, channels, height, width = features.shape
    tokens = height * width
    if not 1 <= slices <= tokens:
        raise KernelInputError(f"slices must be 1 to {tokens}, the number of positions (got {slices})")
    if not _on_gpu(features):
        whole = slices * slice_length(tokens, slices)
        padded = F.pad(features.flatten(2).float(), (0, whole - tokens))
        parts = padded.view(batch, channels, slices, -1).transpose(1, 2)  # (B, S, C, length)
        return parts @ parts.transpose(2, 3)
    from danet_export.kernels import channel_energy as kernel

    output = features.new_empty((batch, slices, channels, channels), dtype=torch.float32)
    launch(kernel.specify(batch, channels, tokens, slices, *_gpu(features)), features, output)
    return output


@torch.library.custom_op("danet::upsample_argmax", mutates_args=())
def upsample_argmax(logits: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """Bilinear upsampling and the class with the largest logit, the lowest at a tie.

    Args:
        logits: (B, C, h, w), FP16 or BF16, contiguous; C up to 2048 in FP16 and 256 in BF16.
        height: Of the labels.
        width: Of the labels.
        align_corners: Whether the outermost samples of both grids coincide, or their outer edges.

    Returns:
        (B, height, width), whole numbers in the type of the logits.

    Raises:
        KernelInputError: The tensor or the size does not fit; or a CPU tensor outside :func:`plain_ops`.
    """
    _check("logits", logits, logits)
    batch, classes, logits_height, logits_width = logits.shape
    if classes > _LARGEST_EXACT[logits.dtype]:
        most = _LARGEST_EXACT[logits.dtype]
        raise KernelInputError(f"logits of {logits.dtype} must have at most {most} classes (got {classes})")
    if min(height, width) < 1:
        raise KernelInputError(f"the size of the labels must be positive (got {height}x{width})")
    if not _on_gpu(logits):
        scores = F.interpolate(logits.float(), (height, width), mode="bilinear", align_corners=align_corners)
        return scores.argmax(1).to(logits.dtype)
    from danet_export.kernels import upsample_argmax as kernel

    output = logits.new_empty((batch, height, width))
    logits_hw = (logits_height, logits_width)
    spec = kernel.specify(batch, classes, logits_hw, (height, width), align_corners, *_gpu(logits))
    launch(spec, logits, output)
    return output


@position_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    return torch.empty_like(value)


@channel_energy.register_fake
def _(features: Tensor, slices: int) -> Tensor:
    batch, channels = features.shape[:2]
    return features.new_empty((batch, slices, channels, channels), dtype=torch.float32)


@upsample_argmax.register_fake
def _(logits: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    return logits.new_empty((logits.shape[0], height, width))


def launch(spec: KernelSpec, *tensors: Tensor) -> None:
    """Run a kernel through Triton's own launcher, with the very options that a bundle's PTX is made with.

    Args:
        spec: What to run.
        tensors: Contiguous, in the order of the kernel's pointers; the last one is written.
    """
    from danet_export.kernels.compiler import compile_options

    if not tensors[0].is_cuda:
        spec.function[spec.grid](*tensors, **spec.constants)
        return
    architecture = _architecture(tensors[0])
    if tensors[0].dtype == torch.bfloat16 and not architecture.bfloat16:
        raise KernelInputError(f"{architecture.name} has no BF16; give FP16 tensors")
    with torch.cuda.device(tensors[0].device):  # Triton launches on the current device, whatever the tensors'
        spec.function[spec.grid](*tensors, **spec.constants, **compile_options(spec, architecture))


def _gpu(tensor: Tensor) -> tuple[Architecture, KernelVariant]:
    return _architecture(tensor), "tuned"


def _architecture(tensor: Tensor) -> Architecture:
    major, minor = torch.cuda.get_device_capability(tensor.device)
    name = f"sm_{major}{minor}"
    if name not in ARCHITECTURES:
        raise KernelInputError(f"kernels exist for {', '.join(ARCHITECTURES)}; this GPU is {name}")
    return ARCHITECTURES[name]


def _on_gpu(tensor: Tensor) -> bool:
    if tensor.is_cuda:
        return True
    if not _plain_ops_allowed.get():
        raise KernelInputError(
            f"the kernels run on CUDA tensors (got one on {tensor.device}); "
            "to compute with plain PyTorch operators instead, say so: `with torch_ops.plain_ops():`"
        )
    return False


def _check_position_attention(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> None:
    _check("query", query, query)
    _check("key", key, query)
    _check("value", value, query)
    _check("residual", residual, query)
    if key.shape != query.shape:
        raise KernelInputError(f"key must have the query's shape {_shape(query)} (got {_shape(key)})")
    if residual.shape != value.shape:
        raise KernelInputError(
            f"residual must have the value's shape {_shape(value)} (got {_shape(residual)})"
        )
    if (value.shape[0], *value.shape[2:]) != (query.shape[0], *query.shape[2:]):
        raise KernelInputError(
            f"value must have the query's batch, height and width {_shape(query)} (got {_shape(value)})"
        )


def _check(name: str, tensor: Tensor, like: Tensor) -> None:
    problem: Any = None
    if tensor.dim() != 4 or tensor.numel() == 0:
        problem = f"four dimensions (B, C, h, w), none of them 0 (got {_shape(tensor)})"
    elif tensor.dtype not in _LARGEST_EXACT:
        problem = f"of type float16 or bfloat16 (got {tensor.dtype})"
    elif (tensor.dtype, tensor.device) != (like.dtype, like.device):
        problem = f"{like.dtype} on {like.device} as its fellows (got {tensor.dtype} on {tensor.device})"
    elif not tensor.is_contiguous():
        problem = f"contiguous, channels first (got strides {tensor.stride()})"
    if problem:
        raise KernelInputError(f"{name} must be {problem}")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
