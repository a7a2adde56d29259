"""A stand-in for ``cuda.bindings.driver`` whose device executes PTX: as much as ``CudaDriver`` calls.

It refuses what a driver refuses: code for another architecture, more shared memory than was asked for
beforehand or than a block may have. A kernel's fault comes back as the error that a GPU would give at the
next call, and is kept.
"""

# The names are the driver's own.
# ruff: noqa: N802

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

from ptx_machine.faults import Fault
from ptx_machine.launch import Launch, Report, launch
from ptx_machine.memory.global_memory import GlobalMemory
from ptx_machine.syntax import parse

_FREE_SHARED_MEMORY: Final = 48 * 1024  # what every launch may have without asking


class CudaResult(enum.IntEnum):
    """The driver's errors that occur here."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_INVALID_PTX = 218
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_MISALIGNED_ADDRESS = 716
    CUDA_ERROR_LAUNCH_FAILED = 719


_DONE: Final = CudaResult.CUDA_SUCCESS
_ADDRESS_FAULTS: Final = ("global-out-of-bounds", "shared-out-of-bounds", "tensor-out-of-bounds")
Answer = tuple[Any, ...]


class ExecutingCuda:
    """A driver of CUDA 13.0 with one device.

    Args:
        arch: Architecture of the device, as ``sm_87``.
        shared_limit: Most dynamic shared memory of a block, in bytes.
        seed: Seed of the first launch; each has the next.

    Attributes:
        memory: The device's memory.
        faults: Faults of the launches so far.
        reports: Reports of the launches that ended well.
    """

    CUresult = CudaResult
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=16,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76,
    )
    CUjit_option = SimpleNamespace(CU_JIT_ERROR_LOG_BUFFER=5, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES=6)
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)

    def __init__(self, arch: str, shared_limit: int, seed: int = 0) -> None:
        self.arch, self.seed = arch, seed
        self._shared_limit = shared_limit
        self.memory = GlobalMemory()
        self.faults: list[Fault] = []
        self.reports: list[Report] = []
        self._modules: list[str] = []
        self._allowed: dict[int, int] = {}

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        """Answer the questions whose answers do not change."""
        fixed = {
            "cuInit": (),
            "cuDriverGetVersion": (13000,),
            "cuCtxGetCurrent": (1,),
            "cuCtxGetId": (1,),
            "cuCtxGetDevice": (0,),
            "cuDeviceGet": (0,),
        }
        if name not in fixed:
            raise AttributeError(name)
        return lambda *_: (_DONE, *fixed[name])

    def cuGetErrorName(self, error: CudaResult) -> Answer:
        """Return an error's name."""
        return _DONE, error.name.encode()

    def cuDeviceGetAttribute(self, attribute: int, _device: int) -> Answer:
        """Return multiprocessors or compute capability."""
        number = self.arch.removeprefix("sm_")
        return _DONE, {16: 16, 75: int(number[:-1]), 76: int(number[-1])}[attribute]

    def cuModuleLoadDataEx(self, image: bytes, _count: int, _options: Any, values: Any) -> Answer:
        """Take a module whose target is this device's."""
        text = image.rstrip(b"\x00").decode("ascii")
        target = parse(text).target
        if target.rstrip("af") != self.arch:
            message = f"target {target}, this is {self.arch}".encode()
            values[0][: len(message)] = message
            return CudaResult.CUDA_ERROR_INVALID_PTX, 0
        self._modules.append(text)
        return _DONE, len(self._modules)

    def cuModuleGetFunction(self, module: int, name: bytes) -> Answer:
        """Find an entry; a function has its module's number."""
        found = parse(self._modules[module - 1]).name == name.decode()
        return (_DONE, module) if found else (CudaResult.CUDA_ERROR_NOT_FOUND, 0)

    def cuFuncSetAttribute(self, function: int, _attribute: int, value: int) -> Answer:
        """Allow a function more shared memory."""
        if value > self._shared_limit:
            return (CudaResult.CUDA_ERROR_INVALID_VALUE,)
        self._allowed[function] = value
        return (_DONE,)

    def cuLaunchKernel(self, function: int, *parameters: Any) -> Answer:
        """Run a kernel to its end: grid, block, shared memory, stream, arguments."""
        grid, block, shared = parameters[:3], parameters[3:6], parameters[6]
        pointers: Sequence[int] = parameters[8][0]
        if shared > self._allowed.get(function, _FREE_SHARED_MEMORY):
            return (CudaResult.CUDA_ERROR_INVALID_VALUE,)
        how = Launch(grid=grid, block=block, shared_memory=shared, seed=self.seed)
        self.seed += 1
        try:
            self.reports.append(launch(self._modules[function - 1], how, pointers, self.memory))
        except Fault as fault:
            self.faults.append(fault)
            return (_error_of(fault),)
        return (_DONE,)


def _error_of(fault: Fault) -> CudaResult:
    if fault.kind == "invalid-launch":
        return CudaResult.CUDA_ERROR_INVALID_VALUE
    if fault.kind in _ADDRESS_FAULTS:
        return CudaResult.CUDA_ERROR_ILLEGAL_ADDRESS
    if fault.kind.startswith("misaligned"):
        return CudaResult.CUDA_ERROR_MISALIGNED_ADDRESS
    return CudaResult.CUDA_ERROR_LAUNCH_FAILED
