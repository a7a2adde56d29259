"""Between blue-green-red and luma with chroma, on the host.

A model file of a YUV bundle converts by itself, with the coefficients of this file. The host converts where
frames come in another format than the model takes, and where people look at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from danet_runtime.dependencies import opencv
from danet_runtime.errors import FrameError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import Color, LevelRange, Pixels

Triple = tuple[float, float, float]

_LUMA_RED_BLUE: Final[dict[Color, tuple[float, float]]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}
"""Shares of red and of blue in luma (ITU-R BT.601-7 section 2.5.1, BT.709-6 section 3.2)."""


@dataclass(frozen=True)
class YuvToBgr:
    """``bgr = luma * max(Y - offset, 0) + u_bgr * (U - 128) + v_bgr * (V - 128)``, rounded, held in 0..255.

    Levels of Y below black are black, as OpenCV has it.
    """

    luma: float
    offset: int
    u_bgr: Triple
    v_bgr: Triple


def yuv_to_bgr(color: Color, levels: LevelRange) -> YuvToBgr:
    """The coefficients; those of BT.601 in limited range are OpenCV's own.

    OpenCV rounds them to three places and keeps them as multiples of 2^-20. Taken as 1.164 and so on, 0.1 %
    of random levels come out different by one; taken as they are, 2 in a million.
    """
    if (color, levels) == ("bt601", "limited"):
        luma, u_blue, u_green, v_green, v_red = (
            value / 2**20 for value in (1220542, 2116026, -409993, -852492, 1673527)
        )
        return YuvToBgr(luma, 16, (u_blue, u_green, 0.0), (0.0, v_green, v_red))
    red, blue = _LUMA_RED_BLUE[color]
    green = 1 - red - blue
    luma, chroma = (255 / 219, 255 / 224) if levels == "limited" else (1.0, 1.0)
    u, v = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
    return YuvToBgr(
        luma, 16 if levels == "limited" else 0, (u, -u * blue / green, 0.0), (0.0, -v * red / green, v)
    )


def _bgr_to_yuv(color: Color, levels: LevelRange) -> npt.NDArray[np.float64]:
    """(3, 4): rows Y, U, V; columns blue, green, red, offset."""
    red, blue = _LUMA_RED_BLUE[color]
    luma = np.array([blue, 1 - red - blue, red])
    u = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - blue))
    v = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - red))
    y_scale, chroma_scale, offset = (219 / 255, 224 / 255, 16) if levels == "limited" else (1.0, 1.0, 0)
    rows = np.stack([y_scale * luma, chroma_scale * u, chroma_scale * v])
    return np.column_stack([rows, [offset, 128.0, 128.0]])


class FromBgr:
    """Converts BGR frames of one size, in buffers that are allocated once.

    Chroma is the mean over the pixels that share it.

    Args:
        size_hw: Height and width of the frames.
        pixels: Format that the frames are converted to.

    Raises:
        FrameError: The format has no such size.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, size_hw: tuple[int, int], pixels: Pixels) -> None:
        if fault := pixels.fault(size_hw):
            raise FrameError(fault)
        self._pixels = pixels
        self._cv2 = opencv(f"converting frames to {pixels.format}")
        height, width = size_hw
        self._chroma_hw = (height // 2 if pixels.format == "nv12" else height, width // 2)
        self._matrix = _bgr_to_yuv(pixels.color, pixels.range)
        if pixels.format != "bgr":
            self._yuv = np.empty((height, width, 3), np.uint8)
            self._chroma = np.empty((*self._chroma_hw, 3), np.uint8)

    def __call__(self, bgr: UInt8Array, out: UInt8Array) -> None:
        """Convert one frame.

        Args:
            bgr: (H, W, 3) uint8; only read.
            out: uint8 of the format's shape, C-contiguous, owned by the caller; overwritten.
        """
        if self._pixels.format == "bgr":
            np.copyto(out, bgr)
            return
        self._cv2.transform(bgr, self._matrix, dst=self._yuv)
        size = self._chroma_hw[::-1]
        self._cv2.resize(self._yuv, size, dst=self._chroma, interpolation=self._cv2.INTER_AREA)
        np.copyto(self._pixels.luma(out), self._yuv[..., 0])
        if self._pixels.format == "nv12":
            height = self._yuv.shape[0]
            np.copyto(out[height:].reshape(*self._chroma_hw, 2), self._chroma[..., 1:])
        else:
            pairs = out.reshape(*self._chroma_hw, 4)  # U Y0 V Y1
            np.copyto(pairs[..., ::2], self._chroma[..., 1:])


def to_pixel_format(bgr: UInt8Array, pixels: Pixels) -> UInt8Array:
    """A BGR frame in another format.

    Args:
        bgr: (H, W, 3) uint8; only read.
        pixels: The format, e.g. ``manifest.frame.pixels``.

    Returns:
        uint8 of ``pixels.shape((H, W))``, C-contiguous, owned by the caller; ``bgr`` itself where nothing is
        to do.

    Raises:
        FrameError: The format has no such size.
        MissingDependencyError: OpenCV is not installed.
    """
    if pixels.format == "bgr":
        return bgr
    size_hw = (bgr.shape[0], bgr.shape[1])
    convert = FromBgr(size_hw, pixels)
    out = np.empty(pixels.shape(size_hw), np.uint8)
    convert(bgr, out)
    return out


def to_bgr(frame: UInt8Array, pixels: Pixels, out: UInt8Array | None = None) -> UInt8Array:
    """A frame as BGR, to be looked at.

    Args:
        frame: uint8 in the layout of ``pixels``; only read.
        pixels: Its format.
        out: (H, W, 3) uint8, C-contiguous, to write into; by default a new array.

    Returns:
        ``out``; where ``pixels`` is ``bgr`` already and there is no ``out``, ``frame`` itself.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    if pixels.format == "bgr":
        if out is None:
            return frame
        np.copyto(out, frame)
        return out
    luma = pixels.luma(frame)
    if out is None:
        out = np.empty((*luma.shape, 3), np.uint8)
    if (pixels.color, pixels.range) == ("bt601", "limited"):
        cv2 = opencv("converting frames to bgr")
        code = cv2.COLOR_YUV2BGR_NV12 if pixels.format == "nv12" else cv2.COLOR_YUV2BGR_UYVY
        cv2.cvtColor(frame, code, dst=out)
    else:
        _convert(luma, _chroma_of(frame, pixels), pixels, out)
    return out


def _chroma_of(frame: UInt8Array, pixels: Pixels) -> UInt8Array:
    """(H, W, 2): U and V of every pixel."""
    if pixels.format == "nv12":
        height, width = pixels.luma(frame).shape
        pairs = frame[height:].reshape(height // 2, width // 2, 2)
        return pairs.repeat(2, axis=0).repeat(2, axis=1)
    return frame[..., 0].reshape(frame.shape[0], frame.shape[1] // 2, 2).repeat(2, axis=1)


def _convert(luma: UInt8Array, chroma: UInt8Array, pixels: Pixels, out: UInt8Array) -> None:
    use = yuv_to_bgr(pixels.color, pixels.range)
    y = np.maximum(luma.astype(np.float32) - use.offset, 0) * use.luma
    u, v = (chroma[..., index].astype(np.float32) - 128 for index in (0, 1))
    for channel in range(3):
        level: Any = y + use.u_bgr[channel] * u + use.v_bgr[channel] * v
        out[..., channel] = np.clip(np.rint(level), 0, 255)
