"""Arrays whose memory begins and ends with a page of its own, so that a GPU's driver can lock it alone."""

from __future__ import annotations

import math
import mmap

import numpy as np

from danet_runtime.frames.arrays import UInt8Array


def page_aligned(shape: tuple[int, ...]) -> UInt8Array:
    """A new array.

    Args:
        shape: Shape of the array; every extent is at least 1.

    Returns:
        C-contiguous uint8 zeros; the memory goes with the last view of it.
    """
    nbytes = math.prod(shape)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, np.uint8, nbytes).reshape(shape)
