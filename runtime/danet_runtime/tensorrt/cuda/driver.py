"""The CUDA driver, as far as running engines and launching a bundle's kernels needs it, through cuda-python.

Loading is separate from launching, since code cannot be loaded while a stream is being captured: a kernel is
loaded when a plugin learns its shapes, and ``enqueue`` does nothing but launch.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from danet_runtime.dependencies import CUDA_PYTHON, require
from danet_runtime.errors import BackendError, FaultError
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel, check_device
from danet_runtime.tensorrt.kernels.ptx import Release

_ALWAYS_ALLOWED_SHARED_MEMORY: Final = 48 * 1024
"""Dynamic shared memory a block, in bytes, that needs no permission."""

_LOG_BYTES: Final = 8192

FINAL_ERRORS: Final = frozenset(
    f"CUDA_ERROR_{name}"
    for name in (
        "DEINITIALIZED",
        "ECC_UNCORRECTABLE",
        "NVLINK_UNCORRECTABLE",
        "CONTAINED",
        "ILLEGAL_ADDRESS",
        "LAUNCH_TIMEOUT",
        "CONTEXT_IS_DESTROYED",
        "ASSERT",
        "HARDWARE_STACK_ERROR",
        "ILLEGAL_INSTRUCTION",
        "MISALIGNED_ADDRESS",
        "INVALID_ADDRESS_SPACE",
        "INVALID_PC",
        "LAUNCH_FAILED",
        "TENSOR_MEMORY_LEAK",
        "MPS_CLIENT_TERMINATED",
        "EXTERNAL_DEVICE",
        "UNKNOWN",
    )
)
"""Errors after which every call of the process fails: by the driver's documentation it must be restarted."""


@dataclass(frozen=True)
class LaunchableKernel:
    """A kernel that has been loaded into a CUDA context.

    Attributes:
        function: The driver's handle, valid as long as the context lives.
        loaded: The kernel that was loaded.
    """

    function: Any
    loaded: LoadedKernel


class CudaDriver:
    """The driver and the current device of the calling thread; use :func:`cuda_driver`.

    Args:
        api: Module whose functions are called in place of those of ``cuda.bindings.driver``.

    Raises:
        MissingDependencyError: cuda-python is not installed.
        BackendError: There is no driver, or it does not start.
    """

    def __init__(self, api: ModuleType | None = None) -> None:
        self._driver: ModuleType = api or require(CUDA_PYTHON)
        self._functions: dict[tuple[int, str, str], LaunchableKernel] = {}
        self._lock = threading.Lock()
        try:
            self.call("cuInit", 0)
        except RuntimeError as error:  # cuda-python itself, where it finds no libcuda
            raise BackendError(
                f"expected an NVIDIA driver, found none ({error}); install the driver, or run on the vehicle"
            ) from error

    def cuda_release(self) -> Release:
        """The CUDA release that the driver implements, e.g. (12, 6)."""
        version = int(self.call("cuDriverGetVersion"))
        return version // 1000, version % 1000 // 10

    @property
    def api(self) -> ModuleType:
        """The module ``cuda.bindings.driver``, for its enumerators."""
        return self._driver

    def name(self, ordinal: int) -> str:
        """Name of a GPU."""
        raw: bytes = self.call("cuDeviceGetName", 256, self.call("cuDeviceGet", ordinal))
        return raw.split(b"\x00", 1)[0].decode(errors="replace").strip()

    def multiprocessors(self, ordinal: int) -> int:
        """Return the number of multiprocessors of a GPU."""
        attribute = self._driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
        return int(self.call("cuDeviceGetAttribute", attribute, self.call("cuDeviceGet", ordinal)))

    def is_integrated(self, ordinal: int) -> bool:
        """Whether a GPU has no memory of its own, but the host's, as on a Jetson."""
        attribute = self._driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED
        return bool(self.call("cuDeviceGetAttribute", attribute, self.call("cuDeviceGet", ordinal)))

    def architecture(self, ordinal: int | None = None) -> str:
        """Architecture of a GPU, as ``sm_87``; by default of the one that the current context is on."""
        device = self.call("cuDeviceGet", ordinal) if ordinal is not None else self.call("cuCtxGetDevice")
        attributes = self._driver.CUdevice_attribute
        major, minor = (
            int(self.call("cuDeviceGetAttribute", attribute, device))
            for attribute in (
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        return f"sm_{major}{minor}"

    def load(self, loaded: LoadedKernel) -> LaunchableKernel:
        """Load a kernel into the calling thread's current context, once a context.

        The module stays loaded until its context ends.

        Raises:
            BackendError: No context, another architecture, a driver too old, or code that it does not take.
        """
        kernel = loaded.kernel
        context = self.call("cuCtxGetCurrent")
        if int(context) == 0:
            raise BackendError(
                f"loading {kernel.ptx.path}: expected a current CUDA context, the thread has none; "
                "create one (TensorRT's Runtime does) before the engine runs"
            )
        # A context's address may be used again after its end, its id is not.
        key = (int(self.call("cuCtxGetId", context)), loaded.digest, kernel.entry)
        with self._lock:
            if key not in self._functions:
                check_device(kernel, self.architecture(), self.cuda_release())
                self._functions[key] = LaunchableKernel(self._load(loaded), loaded)
            return self._functions[key]

    def launch(self, launchable: LaunchableKernel, stream: int, pointers: Sequence[int]) -> None:
        """Enqueue a kernel.

        Args:
            launchable: Kernel that was loaded into the current context.
            stream: Handle of a CUDA stream.
            pointers: Device addresses: the inputs, then the output.

        Raises:
            BackendError: The driver refuses; the message holds its error's name.
        """
        kernel = launchable.loaded.kernel
        self.call(
            "cuLaunchKernel",
            launchable.function,
            *kernel.grid,
            *kernel.block,
            kernel.shared_memory_bytes,
            stream,
            (tuple(pointers), (ctypes.c_void_p,) * len(pointers)),
            0,
        )

    def _load(self, loaded: LoadedKernel) -> Any:  # noqa: ANN401 - a CUfunction
        driver, kernel = self._driver, loaded.kernel
        log = bytearray(_LOG_BYTES)
        options = driver.CUjit_option
        error, module = driver.cuModuleLoadDataEx(
            loaded.ptx + b"\x00",
            2,
            [options.CU_JIT_ERROR_LOG_BUFFER, options.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES],
            [log, len(log)],
        )
        if error != driver.CUresult.CUDA_SUCCESS:
            message = bytes(log).split(b"\x00", 1)[0].decode(errors="replace").strip()
            raise BackendError(
                f"the driver does not load {kernel.ptx.path} for {kernel.arch}: {self._name(error)}"
                f"{f' ({message})' if message else ''}; update the driver, or export the bundle again"
            )
        function = self.call("cuModuleGetFunction", module, kernel.entry.encode())
        if kernel.shared_memory_bytes > _ALWAYS_ALLOWED_SHARED_MEMORY:
            self.call(
                "cuFuncSetAttribute",
                function,
                driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                kernel.shared_memory_bytes,
            )
        return function

    def call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - the driver's own types
        """Call one function of the driver's API.

        Returns:
            Its first result, or ``None`` where it has none.

        Raises:
            FaultError: It failed with one of :data:`FINAL_ERRORS`, its own or that of earlier work.
            BackendError: It failed otherwise; the message holds the error's name.
        """
        results = self.call_all(name, *arguments)
        return results[0] if results else None

    def call_all(self, name: str, *arguments: Any) -> list[Any]:  # noqa: ANN401 - the driver's own types
        """Like :meth:`call`, but return all results."""
        results: list[Any]
        error, *results = getattr(self._driver, name)(*arguments)
        if error != self._driver.CUresult.CUDA_SUCCESS:
            raise self._failure(name, error)
        return results

    def is_done(self, name: str, *arguments: Any) -> bool:  # noqa: ANN401 - the driver's own types
        """Call a query, as ``cuStreamQuery``: whether the work is done; raises as :meth:`call` does."""
        (error,) = getattr(self._driver, name)(*arguments)
        if error == self._driver.CUresult.CUDA_ERROR_NOT_READY:
            return False
        if error != self._driver.CUresult.CUDA_SUCCESS:
            raise self._failure(name, error)
        return True

    def _failure(self, call: str, error: Any) -> BackendError:  # noqa: ANN401 - a CUresult
        name = self._name(error)
        if name in FINAL_ERRORS:
            return FaultError(f"{call} failed with {name}: the GPU's context is lost; restart the process")
        hint = "; this machine has no usable NVIDIA GPU" if call == "cuInit" else ""
        return BackendError(f"{call} failed with {name}{hint}")

    def _name(self, error: Any) -> str:  # noqa: ANN401 - a CUresult
        status, name = self._driver.cuGetErrorName(error)
        return name.decode() if status == self._driver.CUresult.CUDA_SUCCESS else str(error)


@functools.cache
def cuda_driver() -> CudaDriver:
    """The process's driver, started on first use.

    Raises:
        MissingDependencyError: cuda-python is not installed.
        BackendError: There is no driver, or it does not start.
    """
    return CudaDriver()
