"""Execution of this package's PyTorch operators: the kernel on CUDA tensors, or plain operators on request.

The operators ``torch.ops.danet.*`` have no backward: to ask gradients of them raises. Training uses
danet_train's own modules. On CUDA tensors they launch the Triton kernels, tuned for the GPU at hand. On a CPU
they raise, unless the caller has asked for plain PyTorch operators: a comparison that silently ran something
else would prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import torch
from torch import Tensor

from danet_export.errors import ExportError
from danet_export.kernels.architectures import ARCHITECTURES, Architecture
from danet_export.kernels.specification import KernelSpec
from danet_runtime.bundle.manifest import KernelDtype, KernelVariant

DTYPES: Final[dict[torch.dtype, KernelDtype]] = {torch.float16: "fp16", torch.bfloat16: "bf16"}
"""The types that kernels take, as a manifest names them."""

_plain_ops_allowed: ContextVar[bool] = ContextVar("plain_ops_allowed", default=False)


class KernelInputError(ExportError, ValueError):
    """The tensors do not fit the kernel."""


@contextmanager
def plain_ops() -> Iterator[None]:
    """Let the operators accept CPU tensors in this block, and compute them with plain PyTorch operators."""
    token = _plain_ops_allowed.set(True)
    try:
        yield
    finally:
        _plain_ops_allowed.reset(token)


def on_gpu(tensor: Tensor) -> bool:
    """Return whether the kernel runs; if not, plain operators do.

    Raises:
        KernelInputError: The tensor is on a CPU, and nobody asked for plain operators.
    """
    if tensor.is_cuda:
        return True
    if not _plain_ops_allowed.get():
        raise KernelInputError(
            f"the kernels run on CUDA tensors (got one on {tensor.device}); "
            "to compute with plain PyTorch operators instead, say so: `with execution.plain_ops():`"
        )
    return False


def gpu(tensor: Tensor) -> tuple[Architecture, KernelVariant]:
    """Return the architecture and the kernel variant for a CUDA tensor's GPU.

    Raises:
        KernelInputError: There are no kernels for that GPU.
    """
    return _architecture(tensor), "tuned"


def launch(spec: KernelSpec, *tensors: Tensor) -> None:
    """Run a kernel through Triton's own launcher, with the very options that a bundle's PTX is made with.

    Args:
        spec: The kernel to run.
        tensors: Contiguous tensors, in the order of the kernel's pointers; the last one is written.
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


def check(name: str, tensor: Tensor, like: Tensor) -> None:
    """Refuse a tensor that no kernel takes.

    Args:
        name: Name of the tensor, for the error.
        tensor: Tensor that must be (B, C, h, w), FP16 or BF16, contiguous.
        like: Tensor with the required type and device.

    Raises:
        KernelInputError: The tensor is anything else.
    """
    problem: Any = None
    if tensor.dim() != 4 or tensor.numel() == 0:
        problem = f"four dimensions (B, C, h, w), none of them 0 (got {shape_of(tensor)})"
    elif tensor.dtype not in DTYPES:
        problem = f"of type float16 or bfloat16 (got {tensor.dtype})"
    elif (tensor.dtype, tensor.device) != (like.dtype, like.device):
        problem = f"{like.dtype} on {like.device} as its fellows (got {tensor.dtype} on {tensor.device})"
    elif not tensor.is_contiguous():
        problem = f"contiguous, channels first (got strides {tensor.stride()})"
    if problem:
        raise KernelInputError(f"{name} must be {problem}")


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape as a plain tuple, for messages."""
    return tuple(tensor.shape)


def _architecture(tensor: Tensor) -> Architecture:
    major, minor = torch.cuda.get_device_capability(tensor.device)
    name = f"sm_{major}{minor}"
    if name not in ARCHITECTURES:
        raise KernelInputError(f"kernels exist for {', '.join(ARCHITECTURES)}; this GPU is {name}")
    return ARCHITECTURES[name]
