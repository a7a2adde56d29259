"""A bundle's kernel launched through the CUDA driver API, with what its manifest says and nothing else."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from danet_runtime.bundle import Kernel

EVERY_LAUNCH_MAY_USE = 48 * 1024


class DriverKernel:
    """A loaded kernel; needs cuda-python (``pip install cuda-python``) and PyTorch's own CUDA context.

    Args:
        kernel: The manifest's entry.
        ptx: Its file.
    """

    def __init__(self, kernel: Kernel, ptx: bytes) -> None:
        from cuda.bindings import driver

        torch.zeros(1, device="cuda")  # makes PyTorch's context the current one
        self._driver = driver
        self.kernel = kernel
        self._module = self._check(driver.cuModuleLoadData(ptx + b"\0"))
        self._function = self._check(driver.cuModuleGetFunction(self._module, kernel.entry.encode()))
        if kernel.shared_memory_bytes > EVERY_LAUNCH_MAY_USE:
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._check(driver.cuFuncSetAttribute(self._function, attribute, kernel.shared_memory_bytes))

    def __call__(self, *tensors: Tensor) -> None:
        """Launch on PyTorch's current stream; the tensors are the inputs, then the output."""
        pointers = tuple(tensor.data_ptr() for tensor in tensors)
        stream = torch.cuda.current_stream().cuda_stream
        launch = (*self.kernel.grid, *self.kernel.block, self.kernel.shared_memory_bytes, stream)
        parameters = (pointers, (ctypes.c_void_p,) * len(pointers))
        self._check(self._driver.cuLaunchKernel(self._function, *launch, parameters, 0))

    def close(self) -> None:
        """Unload the kernel."""
        self._check(self._driver.cuModuleUnload(self._module))

    def _check(self, result: tuple[Any, ...]) -> Any:  # noqa: ANN401 - whatever the call returns
        status, *values = result
        if status != self._driver.CUresult.CUDA_SUCCESS:
            _, text = self._driver.cuGetErrorString(status)
            raise RuntimeError(f"{self.kernel.operator} for {self.kernel.arch}: {text.decode()}")
        return values[0] if values else None
