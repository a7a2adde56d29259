"""Drawing on the regions of an overlay: borders, and the names of large ones."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Final

import numpy as np

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.lettering import Lettering

_SEEN_WIDTH: Final = 320  # regions are looked for in labels that are made so small
_LEAST_REGION: Final = 0.012  # of the frame, from which on a region gets a name
_MOST_A_CLASS: Final = 3
_WIDE_BORDER_FROM_PX: Final = 1400  # height from which on a border is 4 pixels wide and not 2


class Borders:
    """Finds the pixels on both sides of the borders between labels, in buffers that are allocated once.

    Args:
        cv2: OpenCV's module.
        size_hw: Height and width of the labels.
    """

    def __init__(self, cv2: ModuleType, size_hw: tuple[int, int]) -> None:
        self._cv2 = cv2
        side = 3 if size_hw[0] < _WIDE_BORDER_FROM_PX else 5
        self._kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
        self._mask: UInt8Array = np.empty(size_hw, np.uint8)

    def draw_into(self, labels: UInt8Array, colored: UInt8Array, picture: UInt8Array) -> None:
        """Draw the borders.

        Args:
            labels: (H, W) uint8; only read.
            colored: (H, W, 3) uint8, the colors of the borders; only read.
            picture: (H, W, 3) uint8 to draw into.
        """
        self._cv2.morphologyEx(labels, self._cv2.MORPH_GRADIENT, self._kernel, dst=self._mask)
        self._cv2.copyTo(colored, self._mask, picture)


class RegionNames:
    """Writes the names of classes on their large regions.

    Args:
        cv2: OpenCV's module.
        size_hw: Height and width of the pictures.
        names: Names of the classes.
    """

    def __init__(self, cv2: ModuleType, size_hw: tuple[int, int], names: Sequence[str]) -> None:
        self._cv2 = cv2
        self._size_hw = size_hw
        self._names = tuple(names)
        self._lettering = Lettering(cv2, size_hw)
        self._shrink = min(1.0, _SEEN_WIDTH / size_hw[1])

    def draw_into(
        self, labels: UInt8Array, picture: UInt8Array, corner_hw: tuple[int, int], line_px: int
    ) -> None:
        """Write the names where a region is widest, and where nothing else is written.

        Args:
            labels: (H, W) uint8; only read.
            picture: (H, W, 3) uint8 to write into.
            corner_hw: Height and width of the upper left corner that is taken.
            line_px: Height of the strip that is taken below.
        """
        for name, (x, y) in self.places(labels):
            width = self._lettering.width(name)
            left = min(max(x - width // 2, 0), max(self._size_hw[1] - width, 0))
            top = min(max(y - self._lettering.line_px // 2, 0), self._size_hw[0] - self._lettering.line_px)
            is_in_corner = top < corner_hw[0] and left < corner_hw[1]
            if is_in_corner or top + self._lettering.line_px > self._size_hw[0] - line_px:
                continue
            self._lettering.write_outlined(picture, name, left, top)

    def places(self, labels: UInt8Array) -> list[tuple[str, tuple[int, int]]]:
        """The names of large regions, and the points (x, y) in them that are farthest from their borders."""
        height, width = (max(1, round(side * self._shrink)) for side in self._size_hw)
        small = self._cv2.resize(labels, (width, height), interpolation=self._cv2.INTER_NEAREST)
        found = []
        for label, count in enumerate(np.bincount(small.ravel(), minlength=256)[: len(self._names)]):
            if count >= _LEAST_REGION * small.size:
                found += [(self._names[label], place) for place in self._places_of(small, label)]
        return found

    def _places_of(self, small: UInt8Array, label: int) -> list[tuple[int, int]]:
        mask = (small == label).astype(np.uint8)
        _, parts, facts, _ = self._cv2.connectedComponentsWithStats(mask, connectivity=4)
        areas = facts[1:, self._cv2.CC_STAT_AREA]
        least_px = self._lettering.line_px * self._shrink / 2
        places = []
        for part in np.argsort(-areas, kind="stable")[:_MOST_A_CLASS] + 1:
            if areas[part - 1] < _LEAST_REGION * small.size:
                break
            alone = self._cv2.copyMakeBorder(
                (parts == part).astype(np.uint8), 1, 1, 1, 1, self._cv2.BORDER_CONSTANT, value=0
            )
            inside = self._cv2.distanceTransform(alone, self._cv2.DIST_L2, 3)
            _, distance, _, (x, y) = self._cv2.minMaxLoc(inside)
            if distance >= least_px:
                places.append((round((x - 0.5) / self._shrink), round((y - 0.5) / self._shrink)))
        return places
