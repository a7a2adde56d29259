"""What every backend offers: one engine of one bundle, fed with bytes, giving bytes."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from danet_runtime.errors import BackendError

UInt8Array = npt.NDArray[np.uint8]


@runtime_checkable
class Backend(Protocol):
    """One loaded model.

    Attributes:
        name: ``onnxruntime``, ``tensorrt``, ...
    """

    name: str

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        """Segment one frame.

        Args:
            frame: (1, H, W, 3) BGR, or (1, H * 3 / 2, W) or (1, H, W, 2) of a bundle for nv12 or uyvy;
                C-contiguous, of the bundle's frame size; only read, during the call.
            labels: (1, H, W), C-contiguous, owned by the caller; overwritten.

        Raises:
            BackendError: The model failed.
        """

    def describe(self) -> dict[str, Any]:
        """What was loaded and how it runs (library version, precision, threads), for reports."""

    def close(self) -> None:
        """Release the model; harmless when called twice."""


class DeviceTimes(NamedTuple):
    """What one frame took on the device, by its own clock, in milliseconds; 0 where nothing was copied."""

    upload_ms: float
    inference_ms: float
    download_ms: float


@runtime_checkable
class PipelinedBackend(Backend, Protocol):
    """A backend that takes the next frame while one is under way, as where copies and inference overlap.

    One thread submits and another one may collect at the same time; results are collected in the order of
    their submission. A stream uses this where it is offered, and ``infer`` for the golden frame.

    Attributes:
        depth: How many frames may be in flight; with 1 nothing overlaps.
    """

    depth: int

    def submit(self, frame: UInt8Array, labels: UInt8Array) -> int:
        """Begin with a frame; does not wait for it.

        Args:
            frame: As of ``infer``; unchanged until it is collected.
            labels: As of ``infer``; written until it is collected.

        Returns:
            A ticket to collect with.

        Raises:
            BackendError: It was not taken; nothing is in flight of it.
            FaultError: This process cannot go on; everything in flight is lost.
        """

    def collect(self, ticket: int) -> DeviceTimes:
        """Wait for a frame's labels.

        Args:
            ticket: Of ``submit``; given back, whatever comes of it.

        Raises:
            BackendError: The model failed with this frame.
            FaultError: This process cannot go on.
        """


@runtime_checkable
class PinningBackend(Backend, Protocol):
    """A backend that copies to and from buffers that it knows without a further copy on the host."""

    def pin(self, *buffers: UInt8Array) -> None:
        """Prepare buffers that will be used again and again; each has pages of its own.

        Raises:
            FaultError: This process cannot go on.
        """

    def unpin(self, *buffers: UInt8Array) -> None:
        """Let go of buffers that nothing is under way with; nothing for those that it does not know.

        Raises:
            FaultError: This process cannot go on.
        """


def check_buffers(
    frame: UInt8Array, frame_shape: tuple[int, ...], labels: UInt8Array, labels_shape: tuple[int, ...]
) -> None:
    """Refuse a frame and labels that a backend cannot hand to native code as they are.

    Raises:
        BackendError: One of them is not C-contiguous uint8 of its shape, the labels are read-only, or they
            share memory with the frame.
    """
    check_buffer("frame", frame, frame_shape)
    check_buffer("labels", labels, labels_shape)
    fault = fault_of_target("labels", labels, frame)
    if fault is not None:
        raise BackendError(fault)


def check_buffer(name: str, array: UInt8Array, shape: tuple[int, ...]) -> None:
    """Refuse a buffer that a backend cannot hand on as it is.

    Raises:
        BackendError: It is not C-contiguous uint8 of this shape.
    """
    if not isinstance(array, np.ndarray):
        raise BackendError(f"{name} must be a numpy array, uint8 {shape} (got {type(array).__name__})")
    if array.shape != shape or array.dtype != np.uint8 or not array.flags.c_contiguous:
        layout = "C-contiguous" if array.flags.c_contiguous else "not C-contiguous"
        raise BackendError(
            f"{name} must be C-contiguous uint8 {shape} (got {layout} {array.dtype} {array.shape}); "
            "Segmenter takes frames of any size"
        )


def fault_of_target(name: str, array: UInt8Array, read: UInt8Array | None = None) -> str | None:
    """Why native code must not write to an array: its protection is numpy's, which native code does not ask.

    A write to a memmap of mode ``r`` ends the process with SIGSEGV.

    Args:
        name: What to call it.
        array: C-contiguous.
        read: What is read meanwhile, C-contiguous.
    """
    if not array.flags.writeable:
        return (
            f"{name} are read-only; give an array that may be written, e.g. a copy or a memmap of mode 'r+'"
        )
    if read is not None and np.may_share_memory(array, read):  # exact, where both are contiguous
        return f"{name} share memory with the frame, which is read while they are written; give other memory"
    return None
