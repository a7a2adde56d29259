"""Colors of classes: as they are written, and a palette where none is stated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from cityscapesscripts.helpers.labels import labels as _cityscapes_labels

Color = tuple[int, int, int]
"""Red, green and blue, 0..255."""

_HEX: Final = re.compile(r"#?([0-9a-fA-F]{6})|#([0-9a-fA-F]{3})")
_LEVELS: Final = (0, 36, 73, 109, 146, 182, 219, 255)
_DARKEST, _LIGHTEST = 35.0, 88.0  # CIE L* of a palette's colors: to be told from black, and from white
_KEPT_APART: Final[tuple[Color, ...]] = ((0, 0, 0), (255, 255, 255))

_KNOWN: Final[dict[str, Color]] = {label.name: label.color for label in _cityscapes_labels if label.id >= 0}


def parse_hex(text: str) -> Color | None:
    """Return the color of ``#804080``, ``804080`` or ``#848``; None for any other text."""
    match = _HEX.fullmatch(text)
    if match is None:
        return None
    digits = match[1] or "".join(2 * digit for digit in match[2])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def as_hex(color: Color) -> str:
    """Return a color as ``#804080``."""
    return f"#{color[0]:02x}{color[1]:02x}{color[2]:02x}"


def distinct_colors(count: int, taken: Sequence[Color] = ()) -> list[Color]:
    """Return colors that are far from each other, from black and white, and from those that are taken.

    Each is the one of a grid of medium lightness that lies farthest from all before it, by CIE76's distance
    in L*a*b*; so the first few are the easiest to tell apart. The same arguments give the same colors.

    Args:
        count: Number of colors, at most 255.
        taken: Colors in use, 0..255.
    """
    colors, lab = _grid()
    apart = np.full(len(colors), np.inf)
    for color in (*_KEPT_APART, *taken):
        apart = np.minimum(apart, _distances(lab, color))
    chosen: list[Color] = []
    for _ in range(count):
        index = int(apart.argmax())
        red, green, blue = (int(value) for value in colors[index])
        chosen.append((red, green, blue))
        apart = np.minimum(apart, np.linalg.norm(lab - lab[index], axis=1))
        apart[index] = -1
    return chosen


def completed_colors(names: Sequence[str], stated: Sequence[Color | None]) -> list[Color]:
    """Return a color for each class: the stated one, Cityscapes' for a name that it has, or a distinct one.

    Args:
        names: Names of the classes.
        stated: Color of each, None where it is to be found.
    """
    colors = list(stated)
    for index, name in enumerate(names):
        known = _KNOWN.get(name)
        if colors[index] is None and known is not None and known not in colors:
            colors[index] = known
    missing = [index for index, color in enumerate(colors) if color is None]
    taken = [color for color in colors if color is not None]
    for index, color in zip(missing, distinct_colors(len(missing), taken), strict=True):
        colors[index] = color
    return [color for color in colors if color is not None]


@lru_cache(maxsize=1)
def _grid() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return (N, 3) RGB colors of medium lightness, and the same in L*a*b*."""
    axis = np.array(_LEVELS, np.uint8)
    colors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _lab(colors)
    is_medium = (lab[:, 0] >= _DARKEST) & (lab[:, 0] <= _LIGHTEST)
    return colors[is_medium], lab[is_medium]


def _distances(lab: npt.NDArray[np.float32], color: Color) -> npt.NDArray[np.float32]:
    return np.asarray(np.linalg.norm(lab - _lab(np.array([color], np.uint8)), axis=1), np.float32)


def _lab(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    scaled = (colors[None] / np.float32(255)).astype(np.float32)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB)[0], np.float32)
