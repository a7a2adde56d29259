"""Arrays on a GPU, of whichever library: what they are told by, and labels of this project's own there.

The two protocols are the CUDA array interface (``__cuda_array_interface__``: pycuda, CuPy, Numba, PyTorch)
and DLPack (``__dlpack__``: PyTorch, CuPy, JAX). Nothing here touches a GPU, and none of these libraries is
imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from danet_runtime.errors import FrameError

DLPACK_ON_CUDA: Final = (2, 13)
"""DLPack's kinds of device: kDLCUDA, kDLCUDAManaged."""

_DLPACK_ON_HOST: Final = (1, 3)  # kDLCPU, kDLCUDAHost


class CudaArray(Protocol):
    """An array with the CUDA array interface."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Shape, type, address, strides, and from version 3 on the stream of its last work."""


class DlpackArray(Protocol):
    """An array that offers itself by DLPack."""

    def __dlpack__(self, *, stream: int | None) -> Any:  # noqa: ANN401 - a capsule
        """A capsule, ready for the work of a stream."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device."""


DeviceArray: TypeAlias = CudaArray | DlpackArray


def is_on_device(array: object) -> bool:
    """Whether an array says that it is on a GPU."""
    if isinstance(array, np.ndarray):
        return False
    return hasattr(array, "__cuda_array_interface__") or _dlpack_kind(array) in DLPACK_ON_CUDA


def is_on_host(array: object) -> bool:
    """Whether something that is no NumPy array says by DLPack that it is in the host's memory."""
    return not isinstance(array, np.ndarray) and _dlpack_kind(array) in _DLPACK_ON_HOST


def title_of(array: object) -> str:
    """The type of an array with its library, as ``torch.Tensor``, for messages."""
    kind = type(array)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library in ("builtins", "__main__") else f"{library}.{kind.__name__}"


def _dlpack_kind(array: object) -> int | None:
    tell = getattr(array, "__dlpack_device__", None)
    return None if tell is None or isinstance(array, type) else int(tell()[0])


class DeviceView:
    """Memory on the GPU whose content is complete, with the CUDA array interface (version 3, no stream).

    Args:
        address: Address of the first byte.
        shape: Shape of the array, which is uint8 and C-contiguous.
        owner: Object that holds the memory; it is kept alive with the array.
    """

    def __init__(self, address: int, shape: tuple[int, ...], owner: object = None) -> None:
        self.shape = shape
        self._address = address
        self._owner = owner

    @property
    def address(self) -> int:
        """Address of the first byte on the device."""
        return self._address

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3; no stream, since nothing is under way with it."""
        return {
            "shape": self.shape,
            "typestr": "|u1",
            "data": (self.address, False),
            "strides": None,
            "version": 3,
            "stream": None,
        }


class DeviceLabels(DeviceView):
    """Labels on the GPU, complete, in memory of their own until nobody refers to them.

    ``torch.as_tensor(labels, device="cuda")``, ``cupy.asarray(labels)`` and Numba take them without a copy
    and hold them; a kernel of pycuda takes them as an argument. They lie in the device's primary context.
    When the last reference is gone their memory serves for later labels, whose writing waits for what was
    enqueued before on the default stream and on streams that were told with :meth:`read_by`; work on other
    streams must be done by then.

    Attributes:
        shape: (1, H, W) uint8.
    """

    def __init__(
        self,
        address: int,
        shape: tuple[int, ...],
        is_open: Callable[[], bool],
        note_reader: Callable[[int], None],
    ) -> None:
        super().__init__(address, shape)
        self._is_open = is_open
        self._note_reader = note_reader

    @property
    def address(self) -> int:
        """Address of the first byte on the device.

        Raises:
            FrameError: The segmenter is closed, or its GPU is lost.
        """
        if not self._is_open():
            raise FrameError("these labels are gone: their segmenter is closed, or its GPU is lost")
        return self._address

    def read_by(self, stream: int) -> None:
        """Reads were enqueued on this stream of the primary context: their memory's next use waits for them.

        Raises:
            FrameError: The segmenter is closed.
            BackendError: It is no stream.
        """
        _ = self.address
        self._note_reader(stream)
