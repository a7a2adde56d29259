"""Pictures side by side, each under its caption, over a legend of their colors."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from types import ModuleType
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Picture: TypeAlias = npt.NDArray[np.uint8]

GAP_PX: Final = 8
CAPTION_PX: Final = 30
_LINE_PX: Final = 26
_SWATCH_PX: Final = 16
_TEXT_SCALE: Final = 0.55
_INK: Final = (235, 235, 235)
_EDGE: Final = (128, 128, 128)
_GROUND: Final = 24


class Panel(NamedTuple):
    """A picture, (H, W, 3) uint8, and the words above it."""

    caption: str
    picture: Picture


class LegendEntry(NamedTuple):
    """A name and its color, in the order of the panels' channels."""

    name: str
    color: tuple[int, int, int]


def panel_size(size_hw: tuple[int, int], least_px: int, most_px: int) -> tuple[int, int]:
    """The width and height of a panel, as OpenCV's ``resize`` takes them.

    Args:
        size_hw: Height and width of what is shown.
        least_px: Width below which it is enlarged, by a whole factor.
        most_px: Longest side of a panel; what is longer is made smaller.
    """
    height, width = size_hw
    longest = max(size_hw)
    if longest > most_px:
        return max(1, round(width * most_px / longest)), max(1, round(height * most_px / longest))
    factor = max(1, min(-(-least_px // width), most_px // longest))
    return width * factor, height * factor


class PanelDrawing:
    """Draws rows of panels of one size.

    Args:
        cv2: OpenCV's module.
    """

    def __init__(self, cv2: ModuleType) -> None:
        self._cv2 = cv2
        self._font = cv2.FONT_HERSHEY_SIMPLEX

    def draw(self, rows: Sequence[Sequence[Panel]], legend: Sequence[LegendEntry]) -> Picture:
        """The panels, as many in each row, and the legend below them; (H', W', 3) uint8."""
        drawn = [self._row(row) for row in rows]
        return np.vstack([*drawn, self._legend(legend, drawn[0].shape[1])])

    def _row(self, panels: Sequence[Panel]) -> Picture:
        columns = [self._captioned(panel) for panel in panels]
        gap = _ground(columns[0].shape[0], GAP_PX)
        return np.hstack([gap, *(part for column in columns for part in (column, gap))])

    def _captioned(self, panel: Panel) -> Picture:
        width = panel.picture.shape[1]
        caption = _ground(CAPTION_PX, width)
        self._write(caption, self._fitted(panel.caption, width), 0, CAPTION_PX - 10)
        return np.vstack([caption, panel.picture])

    def _legend(self, entries: Sequence[LegendEntry], width: int) -> Picture:
        room = width - 2 * GAP_PX
        beside = _SWATCH_PX + 24  # the swatch and the space around the name
        names = [self._fitted(entry.name, room - beside) for entry in entries]
        column_px = max((self._width(name) + beside for name in names), default=room)
        columns = max(1, room // column_px)
        lines = -(-len(entries) // columns)
        legend = _ground(lines * _LINE_PX + 2 * GAP_PX, width)
        for position, (name, entry) in enumerate(zip(names, entries, strict=True)):
            left = GAP_PX + position % columns * column_px
            top = GAP_PX + position // columns * _LINE_PX
            corners = (left, top + 5), (left + _SWATCH_PX, top + 5 + _SWATCH_PX)
            self._cv2.rectangle(legend, *corners, entry.color, -1)
            self._cv2.rectangle(legend, *corners, _EDGE, 1)
            self._write(legend, name, left + _SWATCH_PX + 8, top + _LINE_PX - 8)
        return legend

    def _write(self, picture: Picture, text: str, left: int, base: int) -> None:
        cv2, shown = self._cv2, plain(text)
        cv2.putText(picture, shown, (left, base), self._font, _TEXT_SCALE, _INK, 1, cv2.LINE_AA)

    def _fitted(self, text: str, width: int) -> str:
        """The text, or its beginning with dots where it is wider."""
        length = len(text)
        shown = text
        while length and self._width(shown) > width:
            length -= 1
            shown = f"{text[:length].rstrip()}.."
        return shown

    def _width(self, text: str) -> int:
        (width, _), _ = self._cv2.getTextSize(plain(text), self._font, _TEXT_SCALE, 1)
        return int(width)


def plain(text: str) -> str:
    """Text in the letters that OpenCV can draw, which are ASCII's: without accents, the rest as ``?``."""
    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in bare)


def _ground(height: int, width: int) -> Picture:
    return np.full((height, width, 3), _GROUND, np.uint8)
