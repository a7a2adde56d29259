"""Letters on pictures: sized to the frame, legible on any ground."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.panels import plain

WHITE: Final = (255, 255, 255)
BLACK: Final = (0, 0, 0)

_LINES_A_HEIGHT: Final = 34  # a line is so small a part of the frame's height
_LINE_MIN_PX, _LINE_MAX_PX = 11, 40
_PIXELS_AT_SCALE_1: Final = 30  # a line's height with letters of scale 1
_GROUND_SHARE: Final = 0.3  # what is left of the picture below letters


class Lettering:
    """Writes lines of text in one size.

    Args:
        cv2: OpenCV's module.
        size_hw: Height and width of the pictures that are written on.

    Attributes:
        line_px: Height of one line.
    """

    def __init__(self, cv2: ModuleType, size_hw: tuple[int, int]) -> None:
        self._cv2 = cv2
        self._font = cv2.FONT_HERSHEY_SIMPLEX
        short = min(size_hw[0], size_hw[1])
        self.line_px = min(max(short // _LINES_A_HEIGHT, _LINE_MIN_PX), _LINE_MAX_PX)
        self._scale = self.line_px / _PIXELS_AT_SCALE_1
        self._weight = max(1, round(self.line_px / 22))

    def width(self, text: str) -> int:
        """Width of a text in pixels."""
        (width, _), _ = self._cv2.getTextSize(plain(text), self._font, self._scale, self._weight)
        return int(width)

    def fitted(self, text: str, width: int) -> str:
        """The text, or its beginning with dots where it is wider; empty where not even these fit."""
        if self.width(text) <= width:
            return text
        for length in range(len(text) - 1, 0, -1):
            if self.width(cut := text[:length].rstrip() + "..") <= width:
                return cut
        return ""

    def write(
        self, picture: UInt8Array, text: str, left: int, top: int, color: tuple[int, int, int] = WHITE
    ) -> None:
        """Write a line whose upper left corner is given."""
        base = (left, top + round(0.74 * self.line_px))
        cv2 = self._cv2
        cv2.putText(picture, plain(text), base, self._font, self._scale, color, self._weight, cv2.LINE_AA)

    def write_outlined(self, picture: UInt8Array, text: str, left: int, top: int) -> None:
        """Write a line in white with a dark edge, for grounds of any color."""
        base = (left, top + round(0.74 * self.line_px))
        cv2, shown = self._cv2, plain(text)
        moves = [(x * self._weight, y * self._weight) for x in (-1, 1) for y in (-1, 1)]
        for color, places in ((BLACK, moves), (WHITE, [(0, 0)])):  # a bolder text would also be wider
            for x, y in places:
                at = (base[0] + x, base[1] + y)
                cv2.putText(picture, shown, at, self._font, self._scale, color, self._weight, cv2.LINE_AA)

    def darken(self, region: UInt8Array) -> None:
        """Darken a part of a picture, so that letters can be read on it."""
        self._cv2.convertScaleAbs(region, dst=region, alpha=_GROUND_SHARE)
