"""Folders of pictures and masks as people have them: of five classes, in every kind of mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

Pixels = npt.NDArray[np.uint8]

COLORS = ((250, 170, 30), (128, 0, 200), (0, 180, 60), (20, 60, 220), (200, 200, 200))
"""RGB colors of the five classes: sky, ground, ball, box, pole; no known table has them."""

SIZE_HW = (48, 64)

NAMES = tuple(f"drive{number // 3}_{number % 3:04d}" for number in range(12))
"""Four drives of three frames."""


def truth(seed: int, scale: int = 1) -> Pixels:
    """Labels of all five classes, (48, 64) or ``scale`` times that; the pole is two pixels wide."""
    height, width = SIZE_HW
    rng = np.random.default_rng(seed)
    at = int(rng.integers(12, 26))
    labels = np.zeros((height * scale, width * scale), np.uint8)
    labels[height * scale // 2 :] = 1
    cv2.circle(labels, (at * scale, 30 * scale), 8 * scale, 2, -1)
    labels[18 * scale : 36 * scale, 42 * scale : (42 + at // 2) * scale] = 3
    labels[4 * scale : 26 * scale, 34 * scale : 36 * scale] = 4
    return labels


def photograph(labels: Pixels, seed: int) -> Pixels:
    """A noisy picture in which each class has a brightness of its own, RGB."""
    rng = np.random.default_rng(seed)
    base = np.array([[200, 220, 250], [90, 90, 90], [220, 60, 40], [40, 60, 200], [30, 30, 30]])
    return np.clip(base[labels] + rng.integers(-25, 25, (*labels.shape, 3)), 0, 255).astype(np.uint8)


def colored(labels: Pixels) -> PIL.Image.Image:
    """An RGB mask."""
    return PIL.Image.fromarray(np.array(COLORS, np.uint8)[labels])


def smoothed(seed: int) -> PIL.Image.Image:
    """The RGB mask of ``truth(seed)`` with anti-aliased borders."""
    large = np.array(COLORS, np.uint8)[truth(seed, scale=4)]
    return PIL.Image.fromarray(cv2.resize(large, SIZE_HW[::-1], interpolation=cv2.INTER_AREA))


def grey(labels: Pixels) -> PIL.Image.Image:
    """A grey mask of class numbers."""
    return PIL.Image.fromarray(labels)


def palette(labels: Pixels) -> PIL.Image.Image:
    """A palette mask of class numbers, in the classes' colors."""
    picture = PIL.Image.fromarray(labels)
    picture.putpalette([channel for color in COLORS for channel in color])
    return picture


def own_folder(
    root: Path,
    mask: Callable[[Pixels], PIL.Image.Image] = colored,
    *,
    image: str = "images/{name}.jpg",
    label: str = "masks/{name}.png",
    names: tuple[str, ...] = NAMES,
) -> Path:
    """Write a picture and a mask for each name, ``truth(0)`` and so on in their order."""
    for seed, name in enumerate(names):
        labels = truth(seed)
        for pattern, picture in (
            (image, PIL.Image.fromarray(photograph(labels, seed))),
            (label, mask(labels)),
        ):
            path = root / pattern.format(name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    return root
