"""Buffers of bytes that go to native code: their type, memory for them, and what makes one unfit for it."""

from __future__ import annotations

import math
import mmap

import numpy as np
import numpy.typing as npt

from danet_runtime.errors import BackendError

UInt8Array = npt.NDArray[np.uint8]


def page_aligned(shape: tuple[int, ...]) -> UInt8Array:
    """Return a new array whose memory begins and ends with a page, so that a GPU's driver can lock it alone.

    Args:
        shape: Shape of the array; every extent is at least 1.

    Returns:
        C-contiguous uint8 zeros; the memory goes with the last view of it.
    """
    nbytes = math.prod(shape)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, np.uint8, nbytes).reshape(shape)


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
        name: Name of the array in the message.
        array: The array that is to be written, C-contiguous.
        read: The array that is read meanwhile, C-contiguous; ``None`` where there is none.
    """
    if not array.flags.writeable:
        return (
            f"{name} are read-only; give an array that may be written, e.g. a copy or a memmap of mode 'r+'"
        )
    if read is not None and np.may_share_memory(array, read):  # exact, where both are contiguous
        return f"{name} share memory with the frame, which is read while they are written; give other memory"
    return None
