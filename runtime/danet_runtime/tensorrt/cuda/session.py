"""A GPU in use: its primary context, and the streams, events and memory that were made in it.

The context is current inside :meth:`CudaSession.active` alone: a caller's thread may have one of its own, as
with pycuda, and has it again afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from danet_runtime.errors import BackendError, FaultError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.cuda.driver import CudaDriver, cuda_driver

logger = logging.getLogger(__name__)

ALIGNMENT: Final = 256
"""Device addresses that TensorRT takes are multiples of this; so are those that the driver allocates."""

_POLL_S: Final = 0.002


class PinnedMemory:
    """Host memory that the GPU copies without the host's help; made and freed by a :class:`CudaSession`.

    Attributes:
        address: Address of the first byte.
        array: (bytes,) uint8, the memory itself.
    """

    def __init__(self, address: int, nbytes: int) -> None:
        self.address = address
        self.array: UInt8Array = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


class CudaSession:
    """The first visible GPU's primary context, which TensorRT, PyTorch and CuPy share.

    Use from any thread, inside :meth:`active`; only that, :meth:`is_idle` and :meth:`close` see to it
    themselves.

    Attributes:
        driver: The CUDA driver whose functions are called.
        ordinal: Index of the GPU.
        is_integrated: Whether the GPU has no memory of its own, but the host's, as on a Jetson.

    Raises:
        MissingDependencyError: cuda-python is not installed.
        BackendError: There is no driver, or no GPU.
    """

    def __init__(self, driver: CudaDriver | None = None) -> None:
        self.driver = driver or cuda_driver()
        self.ordinal = 0
        self._streams: list[int] = []
        self._made: list[tuple[str, Any]] = []  # how each thing is freed, in the order of their making
        self._device = self.driver.call("cuDeviceGet", self.ordinal)
        self.is_integrated = self.driver.is_integrated(self.ordinal)
        self._context: Any = self.driver.call("cuDevicePrimaryCtxRetain", self._device)
        try:
            with self.active():
                pass
        except BaseException:
            self.close()
            raise

    @property
    def context(self) -> int:
        """Handle of the context; 0 where the session is closed."""
        return int(self._context or 0)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the context is the calling thread's; afterwards the thread has the one that it had before.

        Raises:
            BackendError: The session is closed.
            FaultError: The GPU is lost.
        """
        if self._context is None:
            raise BackendError("the GPU's session is closed; open another")
        with self.inside(self._context):
            yield

    @contextlib.contextmanager
    def inside(self, context: Any) -> Iterator[None]:  # noqa: ANN401 - a CUcontext
        """Like :meth:`active`, but with any context, such as another library's."""
        self.driver.call("cuCtxPushCurrent", context)
        try:
            yield
        except BaseException:
            with contextlib.suppress(BackendError):
                self.driver.call("cuCtxPopCurrent")
            raise
        self.driver.call("cuCtxPopCurrent")

    def call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - the driver's own types
        """See :meth:`danet_runtime.tensorrt.cuda.driver.CudaDriver.call`."""
        return self.driver.call(name, *arguments)

    def make_stream(self) -> int:
        """Make a stream that does not wait for the default stream, and return its handle."""
        made = self.driver.call("cuStreamCreate", self.driver.api.CUstream_flags.CU_STREAM_NON_BLOCKING)
        self._made.append(("cuStreamDestroy", made))
        self._streams.append(int(made))
        return int(made)

    def make_event(self) -> Any:  # noqa: ANN401 - a CUevent
        """Make an event that records the time, and that a thread waits for without spinning."""
        # Decoder and encoder share the cores with the thread that waits.
        made = self.driver.call("cuEventCreate", self.driver.api.CUevent_flags.CU_EVENT_BLOCKING_SYNC)
        self._made.append(("cuEventDestroy", made))
        return made

    def make_pinned(self, nbytes: int) -> PinnedMemory:
        """Pinned memory on the host.

        Raises:
            BackendError: There is not enough.
        """
        address = int(self.driver.call("cuMemHostAlloc", nbytes, 0))
        self._made.append(("cuMemFreeHost", address))
        return PinnedMemory(address, nbytes)

    def make_mapped(self, nbytes: int) -> tuple[PinnedMemory, int]:
        """Pinned memory that the GPU reads and writes where it lies, and its address for the GPU.

        Raises:
            BackendError: There is not enough, or the GPU cannot.
        """
        flags = self.driver.api.CU_MEMHOSTALLOC_DEVICEMAP
        address = int(self.driver.call("cuMemHostAlloc", nbytes, flags))
        self._made.append(("cuMemFreeHost", address))
        return PinnedMemory(address, nbytes), int(self.driver.call("cuMemHostGetDevicePointer", address, 0))

    def make_memory(self, nbytes: int) -> int:
        """Memory on the GPU; its address, a multiple of :data:`ALIGNMENT`.

        Raises:
            BackendError: There is not enough.
        """
        address = int(self.driver.call("cuMemAlloc", nbytes))
        self._made.append(("cuMemFree", address))
        return address

    def keep_graph(self, graph: Any) -> None:  # noqa: ANN401 - a CUgraphExec
        """Free an executable graph at the end."""
        self._made.append(("cuGraphExecDestroy", graph))

    def raise_if_lost(self) -> None:
        """Find out whether the context is lost, without waiting.

        Raises:
            FaultError: It is.
        """
        for stream in self._streams:
            try:
                self.driver.is_done("cuStreamQuery", stream)
            except FaultError:
                raise
            except BackendError as error:  # of this one stream, as while it is captured
                logger.debug("%s", error)

    def is_idle(self, grace_s: float) -> bool:
        """Whether all streams have done their work within a time; ``False`` also where the GPU is lost."""
        end = time.monotonic() + grace_s
        try:
            with self.active():
                while not all(self.driver.is_done("cuStreamQuery", stream) for stream in self._streams):
                    if time.monotonic() > end:
                        return False
                    time.sleep(_POLL_S)
        except BackendError as error:
            logger.warning("while closing the GPU's session: %s", error)
            return False
        return True

    def close(self, grace_s: float = 2.0) -> None:
        """Free everything; harmless when called twice. What fails is logged, so it hides no other error.

        Where the GPU is lost, or does not end its work in time, nothing is freed: every call that frees would
        fail or wait for it, and the process has to end anyway.
        """
        if self._context is None:
            return
        if self.is_idle(grace_s):
            try:
                with self.active():
                    for free, handle in reversed(self._made):
                        self._try(free, handle)
            except BackendError as error:
                logger.warning("while closing the GPU's session: %s", error)
            self._try("cuDevicePrimaryCtxRelease", self._device)
        else:
            logger.error("the GPU does not answer: its memory is left to the end of the process")
        self._context = None
        self._made.clear()
        self._streams.clear()

    def abandon(self) -> None:
        """Close without a call to the driver."""
        self._context = None
        self._made.clear()
        self._streams.clear()

    def _try(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 - the driver's own types
        try:
            self.driver.call(name, *arguments)
        except BackendError as error:
            logger.warning("while closing the GPU's session: %s", error)
