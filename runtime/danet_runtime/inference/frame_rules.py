"""Checks of a segmenter's frames and labels: any size on the host, the bundle's own size on a GPU."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from danet_runtime.backends.base import Backend, DeviceBackend
from danet_runtime.backends.registry import gpu_backend_names
from danet_runtime.errors import FrameError
from danet_runtime.frames.arrays import UInt8Array, fault_of_target
from danet_runtime.frames.device_arrays import DeviceArray, is_on_device, is_on_host, title_of
from danet_runtime.frames.pixel_formats import Pixels

Array: TypeAlias = UInt8Array | DeviceArray
"""On the host, or on a GPU."""


class FrameRules:
    """Checks the arrays of one segmenter; what is on a GPU is checked as far as the host can see it.

    Args:
        size_hw: Height and width that the model takes without a resize.
        pixels: The bundle's pixel format.
        backend: Backend that runs the frames.
    """

    def __init__(self, size_hw: tuple[int, int], pixels: Pixels, backend: Backend) -> None:
        self._size_hw = size_hw
        self._pixels = pixels
        self._shape = pixels.shape(size_hw)
        self._backend = backend
        self._is_on_gpu = isinstance(backend, DeviceBackend)

    def size_of(self, frame: Array) -> tuple[int, int]:
        """Height and width of a frame, and of its labels.

        Raises:
            FrameError: It is no such array; the message names those that are.
        """
        if isinstance(frame, np.ndarray) and frame.dtype == np.uint8:
            if frame.shape == self._shape:
                return self._size_hw
            if frame.ndim == 3 and frame.shape[2] == 3 and 0 not in frame.shape:
                return (frame.shape[0], frame.shape[1])
        expected = "uint8 (H, W, 3) BGR"
        if self._pixels.format != "bgr":
            expected = f"{self._pixels.layout(self._size_hw)} of just this size, or {expected} of any size"
        if isinstance(frame, np.ndarray):
            raise FrameError(f"a frame must be {expected} (got {frame.dtype} {frame.shape})")
        self._require_device("a frame", frame, expected)
        return self._size_hw

    def check(self, frame: Array, labels: Array) -> tuple[Array, Array]:
        """The arrays as a backend may use them: of no subclass of NumPy's, whose views may differ.

        Raises:
            FrameError: An array does not follow these rules, or the labels are read-only.
        """
        size_hw = self.size_of(frame)
        if isinstance(frame, np.ndarray):
            _check_contiguous("frame", frame)
        if not isinstance(labels, np.ndarray):
            self._require_device("labels", labels, f"uint8 {size_hw}")
            if isinstance(frame, np.ndarray) and frame.shape != self._shape:
                raise FrameError(
                    f"labels on the GPU are for frames of the bundle's own layout and size, {self._shape} "
                    f"(got a frame {frame.shape}); resize it first, or take the labels on the host"
                )
            return _plain(frame), labels
        if labels.dtype != np.uint8 or labels.shape != size_hw:
            raise FrameError(f"labels must be uint8 {size_hw} (got {labels.dtype} {labels.shape})")
        _check_contiguous("labels", labels)
        fault = fault_of_target("labels", labels, frame if isinstance(frame, np.ndarray) else None)
        if fault is not None:
            raise FrameError(fault)
        return _plain(frame), _plain(labels)

    def to_fit(self, frame: Array, labels: Array) -> tuple[UInt8Array, UInt8Array] | None:
        """Checked arrays that are of another size or layout than the model's, both of the host; else none."""
        if isinstance(frame, np.ndarray) and isinstance(labels, np.ndarray) and frame.shape != self._shape:
            return frame, labels
        return None

    def _require_device(self, what: str, array: Any, expected: str) -> None:  # noqa: ANN401 - whatever came
        title = title_of(array)
        if is_on_device(array):
            if self._is_on_gpu:
                return
            raise FrameError(
                f"{what} on the GPU ({title}) needs a backend there, and {self._backend.name} takes "
                f"arrays of the host; choose the backend {gpu_backend_names()}, or copy it to the host, "
                "as with torch's tensor.cpu().numpy(), cupy.asnumpy(array) or pycuda's array.get()"
            )
        if is_on_host(array):
            raise FrameError(
                f"{what} on the host must be a numpy array, {expected} (got {title}); numpy.from_dlpack "
                "makes one of it without a copy"
            )
        raise FrameError(f"{what} must be a numpy array, {expected} (got {title})")


def batched(array: Array) -> Any:  # noqa: ANN401 - arrays on a GPU reach a DeviceBackend alone
    """The array as a backend takes it: of the host with a first axis of 1, of a GPU as it is."""
    return array[None] if isinstance(array, np.ndarray) else array


def _plain(array: Array) -> Array:
    if not isinstance(array, np.ndarray) or type(array) is np.ndarray:
        return array
    return array.view(np.ndarray)


def _check_contiguous(name: str, array: UInt8Array) -> None:
    if not array.flags.c_contiguous:
        raise FrameError(f"{name} must be C-contiguous; copy it with numpy.ascontiguousarray")
