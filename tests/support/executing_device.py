"""The PTX machine as a whole device, with memory and streams: as much as a check of kernels calls."""

# The names are the driver's own.
# ruff: noqa: N802

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
from ptx_machine.driver import Answer, CudaResult, ExecutingCuda

_DONE = CudaResult.CUDA_SUCCESS
_ALWAYS: dict[str, tuple[Any, ...]] = {
    "cuDevicePrimaryCtxRetain": (64,),
    "cuDevicePrimaryCtxRelease": (),
    "cuCtxPushCurrent": (),
    "cuCtxPopCurrent": (64,),
    "cuStreamCreate": (7,),
    "cuStreamDestroy": (),
    "cuStreamQuery": (),
    "cuStreamSynchronize": (),
}


class ExecutingDevice(ExecutingCuda):
    """A device whose memory is allocated, filled, read and freed; what was not freed is in ``held``."""

    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUdevice_attribute = SimpleNamespace(
        **vars(ExecutingCuda.CUdevice_attribute), CU_DEVICE_ATTRIBUTE_INTEGRATED=18
    )

    def __init__(self, arch: str, shared_limit: int, seed: int = 0) -> None:
        super().__init__(arch, shared_limit, seed)
        self.held: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        if name in _ALWAYS:
            return lambda *_: (_DONE, *_ALWAYS[name])
        return super().__getattr__(name)

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> Answer:
        """Return what the machine knows; it is no integrated GPU."""
        return (_DONE, 0) if attribute == 18 else super().cuDeviceGetAttribute(attribute, device)

    def cuMemAlloc(self, nbytes: int) -> Answer:
        """Allocate memory, all of whose bits are set."""
        buffer = self.memory.allocate(f"memory {len(self.held)}", nbytes)
        self.held.add(buffer.address)
        return _DONE, buffer.address

    def cuMemFree(self, address: int) -> Answer:
        """Forget an address."""
        self.held.remove(address)
        return (_DONE,)

    def cuMemsetD8(self, address: int, value: int, _nbytes: int) -> Answer:
        """Do nothing: memory is so already."""
        assert address in self.held
        assert value == 0xFF
        return (_DONE,)

    def cuMemcpyHtoD(self, to: int, source: int, nbytes: int) -> Answer:
        """Fill a buffer from its beginning."""
        buffer = self.memory.find(to)
        assert buffer is not None
        assert buffer.address == to
        assert nbytes <= buffer.size
        self.memory.fill(buffer, np.frombuffer(ctypes.string_at(source, nbytes), np.uint8))
        return (_DONE,)

    def cuMemcpyDtoH(self, to: int, source: int, nbytes: int) -> Answer:
        """Read a buffer from its beginning."""
        buffer = self.memory.find(source)
        assert buffer is not None
        assert nbytes <= buffer.size
        data = self.memory.read(buffer)[:nbytes].copy()
        ctypes.memmove(to, data.ctypes.data, nbytes)
        return (_DONE,)
