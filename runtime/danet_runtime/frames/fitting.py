"""The way between a frame as it comes and the frame that a model takes, on the host; and back for labels."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from danet_runtime.dependencies import opencv
from danet_runtime.frames.arrays import UInt8Array, page_aligned
from danet_runtime.frames.color import FromBgr
from danet_runtime.frames.pixel_formats import Pixels

logger = logging.getLogger(__name__)


class NativeBuffers(NamedTuple):
    """Memory of one frame in the model's own layout and size, and of its labels."""

    frame: UInt8Array
    labels: UInt8Array


class FrameFitting:
    """Resizes and converts for one model; use from one thread at a time.

    Args:
        size_hw: Height and width that the model takes.
        pixels: The format that it takes.
    """

    def __init__(self, size_hw: tuple[int, int], pixels: Pixels) -> None:
        self._size_hw = size_hw
        self._pixels = pixels
        self._resized: UInt8Array | None = None  # (H, W, 3) between resize and conversion
        self._from_bgr: FromBgr | None = None  # needs OpenCV, and a native frame does not

    def make_buffers(self) -> NativeBuffers:
        """Buffers for one frame under way."""
        return NativeBuffers(page_aligned(self._pixels.shape(self._size_hw)), page_aligned(self._size_hw))

    def fit(self, frame: UInt8Array, native: UInt8Array) -> None:
        """Bring a frame into the model's layout and size.

        Args:
            frame: (H, W, 3) uint8 BGR of any size, C-contiguous.
            native: uint8 in the layout and size of the model; overwritten.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        if frame.shape[:2] == self._size_hw:
            bgr = frame
        else:
            height, width = self._size_hw
            cv2 = opencv(f"a frame of {frame.shape[0]}x{frame.shape[1]} for a model of {height}x{width}")
            bgr = native if self._pixels.format == "bgr" else self._between()
            cv2.resize(frame, (width, height), dst=bgr, interpolation=cv2.INTER_LINEAR)
        if self._pixels.format == "bgr":
            return
        if self._from_bgr is None:
            self._from_bgr = FromBgr(self._size_hw, self._pixels)
            logger.warning("frames come as BGR and are converted to %s on the host", self._pixels)
        self._from_bgr(bgr, native)

    @staticmethod
    def bring_back(native: UInt8Array, labels: UInt8Array) -> None:
        """Labels of the model's size at the frame's own size, by nearest neighbour.

        Args:
            native: (h, w) uint8.
            labels: (H, W) uint8; overwritten.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        cv2 = opencv("labels of another size")
        # NEAREST_EXACT aligns pixel centres; plain NEAREST shifts the labels by up to half a source pixel.
        cv2.resize(
            native, (labels.shape[1], labels.shape[0]), dst=labels, interpolation=cv2.INTER_NEAREST_EXACT
        )

    def _between(self) -> UInt8Array:
        if self._resized is None:
            self._resized = np.empty((*self._size_hw, 3), np.uint8)
        return self._resized
