"""The legend of an overlay: the classes that are there, the largest first, on a small part of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.lettering import Lettering

MOST_OF_FRAME: Final = 0.25
"""Share of the frame that a legend covers at most."""

_LEAST_AREA: Final = 1e-4  # of the frame, below which a class is left out where others are shown
_MEMORY: Final = 0.8  # how much of the areas before stays, from frame to frame, so that lines do not jump
_LEAST_ROOM_LINES: Final = 2  # widths of a line's height below which names cannot be read
_GAINED: Final = 1.25  # how much larger a class must be to pass another in the list


class LegendEntry(NamedTuple):
    """One line: a color, BGR, and a name; no color where it only counts the rest."""

    name: str
    color: tuple[int, int, int] | None


class Legend:
    """Draws the legend into pictures of one size.

    From one frame to the next the areas are smoothed, so that the lines stay where they are.

    Args:
        cv2: OpenCV's module.
        size_hw: Height and width of the pictures.
        names: Names of the classes.
        palette: (256, 3) uint8 BGR, one color a label.
    """

    def __init__(
        self, cv2: ModuleType, size_hw: tuple[int, int], names: Sequence[str], palette: UInt8Array
    ) -> None:
        self._cv2 = cv2
        self._size_hw = size_hw
        self._names = tuple(names)
        self._palette = palette
        self._lettering = Lettering(cv2, size_hw)
        self._areas: npt.NDArray[np.float64] | None = None
        self._order: list[int] = []
        self._drawn: tuple[UInt8Array, UInt8Array] | None = None

    @property
    def shown_hw(self) -> tuple[int, int]:
        """Height and width of the corner that it covered last."""
        return (0, 0) if self._drawn is None else (self._drawn[1].shape[0], self._drawn[1].shape[1])

    def draw_into(self, labels: UInt8Array, picture: UInt8Array) -> None:
        """Draw the legend of one frame.

        Args:
            labels: (H, W) uint8; only read.
            picture: (H, W, 3) uint8 BGR; its upper left corner is overwritten.
        """
        if self._note(labels) or self._drawn is None:
            self._drawn = self._draw(self.entries())
        plate, cover = self._drawn
        height, width = plate.shape[:2]
        if height and width:
            region = picture[:height, :width]
            self._lettering.darken(region)
            self._cv2.copyTo(plate, cover, region)

    def entries(self) -> list[LegendEntry]:
        """The lines that fit, for the frames so far; the last counts what is left out."""
        if self._room_px < _LEAST_ROOM_LINES * self._lettering.line_px:
            return []
        shown = [LegendEntry(self._names[label], self._color(label)) for label in self._order]
        for count in range(len(shown), 0, -1):
            left = len(shown) - count
            lines = shown[:count] + ([LegendEntry(f"+{left} more", None)] if left else [])
            height, width = self.size_hw(lines)
            if self._fits(height, width):
                return lines
        return []

    def size_hw(self, entries: Sequence[LegendEntry]) -> tuple[int, int]:
        """Height and width of a legend with these lines; names are cut where they are wide."""
        line, pad = self._lettering.line_px, self._pad
        widest = max((self._lettering.width(entry.name) for entry in entries), default=0)
        return line * len(entries) + 2 * pad, min(widest, self._room_px) + 2 * line + 2 * pad

    @property
    def _room_px(self) -> int:
        """The most that is left for names: a legend takes half of the width at most."""
        line, pad = self._lettering.line_px, self._pad
        return max(self._size_hw[1] // 2 - 2 * line - 2 * pad, 0)

    @property
    def _pad(self) -> int:
        return self._lettering.line_px // 3

    def _fits(self, height: int, width: int) -> bool:
        frame_height, frame_width = self._size_hw
        is_small = height * width <= MOST_OF_FRAME * frame_height * frame_width
        return is_small and height <= frame_height and width <= frame_width

    def _note(self, labels: UInt8Array) -> bool:
        """Take the areas of a frame in; whether the order of the classes is another now."""
        counts = self._cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(-1)[: len(self._names)]
        now = counts.astype(np.float64) / labels.size
        if self._areas is None:
            self._areas = now
        else:
            self._areas += (1 - _MEMORY) * (now - self._areas)
        areas = self._areas
        there = [label for label in range(len(areas)) if areas[label] >= _LEAST_AREA]
        kept = [label for label in self._order if label in there]
        if kept and len(kept) == len(there) == len(self._order):
            is_settled = all(areas[after] <= _GAINED * areas[before] for before, after in pairwise(kept))
            if is_settled:
                return False
        if not there:
            there = [label for label in range(len(areas)) if areas[label] > 0]
        order = sorted(there, key=lambda label: -areas[label])
        is_new, self._order = order != self._order, order
        return is_new

    def _color(self, label: int) -> tuple[int, int, int]:
        blue, green, red = (int(level) for level in self._palette[label])
        return blue, green, red

    def _draw(self, entries: Sequence[LegendEntry]) -> tuple[UInt8Array, UInt8Array]:
        """The letters and patches, and where they cover the picture."""
        if not entries:
            return np.empty((0, 0, 3), np.uint8), np.empty((0, 0), np.uint8)
        height, width = self.size_hw(entries)
        line, pad = self._lettering.line_px, self._pad
        plate: UInt8Array = np.zeros((height, width, 3), np.uint8)
        room = width - 2 * pad - 2 * line
        for number, (name, color) in enumerate(entries):
            top = pad + number * line
            inset = max(1, line // 8)
            if color is not None:
                corners = (pad, top + inset), (pad + line - 2 * inset, top + line - inset - 1)
                self._cv2.rectangle(plate, *corners, color, -1)
                self._cv2.rectangle(plate, *corners, (128, 128, 128), 1)
            self._lettering.write(plate, self._lettering.fitted(name, room), pad + line + line // 3, top)
        cover = np.where(plate.any(axis=2), 255, 0).astype(np.uint8)
        return plate, cover
