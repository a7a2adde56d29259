"""The positions of sliding windows on an image, by the rules of the two references."""

from __future__ import annotations

from typing import NamedTuple

Size = tuple[int, int]
"""Height and width in pixels."""


class Window(NamedTuple):
    """A rectangle of pixels; ``bottom`` and ``right`` are just outside."""

    top: int
    bottom: int
    left: int
    right: int


def windows_inside(size_hw: Size, window_hw: Size, stride_hw: Size) -> list[Window]:
    """Return mmsegmentation's grid: every window lies inside the image, the last ones moved back to its edge.

    Where the image is smaller than a window, the window is as small as the image
    (``EncoderDecoder.slide_inference``).
    """
    rows, columns = (
        _inside(size, window, stride)
        for size, window, stride in zip(size_hw, window_hw, stride_hw, strict=True)
    )
    return [Window(*row, *column) for row in rows for column in columns]


def windows_over(size_hw: Size, window_hw: Size, stride_hw: Size) -> list[Window]:
    """Return the authors' grid: windows at multiples of the stride, the last ones cut off at the edge.

    What is cut off is to be padded to a whole window before the network sees it
    (``MultiEvalModule.forward``).
    """
    rows, columns = (
        _over(size, window, stride)
        for size, window, stride in zip(size_hw, window_hw, stride_hw, strict=True)
    )
    return [Window(*row, *column) for row in rows for column in columns]


def _inside(size: int, window: int, stride: int) -> list[Size]:
    count = -(-max(size - window, 0) // stride) + 1
    ends = [min(index * stride + window, size) for index in range(count)]
    return [(max(end - window, 0), end) for end in ends]


def _over(size: int, window: int, stride: int) -> list[Size]:
    count = -(-max(size - window, 0) // stride) + 1
    return [(index * stride, min(index * stride + window, size)) for index in range(count)]
