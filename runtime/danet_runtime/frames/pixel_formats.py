"""Layouts of the bytes of a frame: blue-green-red, or luma and chroma as cameras deliver them.

========  ===================  ================================================================
format    array, uint8         what is where
========  ===================  ================================================================
``bgr``   (H, W, 3)            blue, green, red of each pixel, as OpenCV delivers it
``nv12``  (H * 3 / 2, W)       H rows of Y, then H/2 rows of U and V in turn, each pair for 2x2
                               pixels; H and W are even
``uyvy``  (H, W, 2)            U Y0 V Y1 for each two pixels of a row; W is even
========  ===================  ================================================================

A model file's input has one more axis in front, of length 1. No row is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from danet_runtime.frames.arrays import UInt8Array

PixelFormat = Literal["bgr", "nv12", "uyvy"]

Color = Literal["bt601", "bt709"]
"""The matrix that makes luma and chroma of red, green and blue: ITU-R BT.601 or BT.709."""

LevelRange = Literal["limited", "full"]
"""``limited``: Y from 16 to 235, U and V from 16 to 240; ``full``: 0 to 255."""


@dataclass(frozen=True)
class Pixels:
    """A pixel format with what its numbers mean.

    Attributes:
        format: The layout.
        color: The matrix; says nothing for ``bgr``.
        range: The levels; says nothing for ``bgr``.
    """

    format: PixelFormat = "bgr"
    color: Color = "bt601"
    range: LevelRange = "limited"

    def __str__(self) -> str:
        return self.format if self.format == "bgr" else f"{self.format} ({self.color}, {self.range} range)"

    @property
    def black_level(self) -> int:
        """The level of black in :meth:`luma`."""
        return 16 if self.format != "bgr" and self.range == "limited" else 0

    def shape(self, size_hw: tuple[int, int]) -> tuple[int, ...]:
        """The shape of a frame's array."""
        height, width = size_hw
        if self.format == "nv12":
            return (height * 3 // 2, width)
        return (height, width, 3 if self.format == "bgr" else 2)

    def layout(self, size_hw: tuple[int, int] | None = None) -> str:
        """The array in words, for messages."""
        if size_hw is not None:
            return f"uint8 {self.shape(size_hw)} {self.format}"
        return {
            "bgr": "uint8 (H, W, 3) bgr",
            "nv12": "uint8 (H * 3 / 2, W) nv12",
            "uyvy": "uint8 (H, W, 2) uyvy",
        }[self.format]

    def fault(self, size_hw: Sequence[int]) -> str | None:
        """Why frames of a size cannot have this format, or ``None`` where they can."""
        height, width = size_hw
        if self.format == "nv12" and (height % 2 or width % 2):
            return (
                "nv12 has one U and V for 2x2 pixels, so that height and width must be even "
                f"(got {height}x{width})"
            )
        if self.format == "uyvy" and width % 2:
            return (
                f"uyvy has one U and V for two pixels, so that the width must be even (got {height}x{width})"
            )
        return None

    def luma(self, frame: UInt8Array) -> UInt8Array:
        """A view of what tells bright from dark: Y as (H, W), or all of a ``bgr`` frame."""
        if self.format == "nv12":
            return frame[: frame.shape[0] * 2 // 3]
        return frame if self.format == "bgr" else frame[..., 1]


BGR = Pixels()
"""The pixel format of the frames that OpenCV delivers."""


@runtime_checkable
class StatesPixels(Protocol):
    """A source that says in which format it writes.

    Attributes:
        pixels: The format.
    """

    pixels: Pixels


def pixels_of(source: object) -> Pixels:
    """Return the format that a source writes: its ``pixels``, or :data:`BGR` where it has none."""
    return source.pixels if isinstance(source, StatesPixels) and isinstance(source.pixels, Pixels) else BGR
