"""Labelled data sets of a few tiny pictures, in a plain folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

Pixels = npt.NDArray[np.uint8]
CLASSES = ("road", "car", "sky", "tree")
_CLASSES_YAML = "classes:\n" + "".join(
    f"  - {{name: {name}, color: [{40 * index}, 0, 9]}}\n" for index, name in enumerate(CLASSES)
)


def scene(seed: int, size_hw: tuple[int, int] = (32, 48)) -> tuple[Pixels, Pixels]:
    """An RGB picture and labels of the first three classes, with no symmetry."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    label = np.zeros(size_hw, np.uint8)
    label[: height // 3] = 2
    label[height // 2 : -3, 3 : 3 + width // 3] = 1
    colors = np.array([[90, 90, 90], [200, 30, 40], [60, 120, 250], [0, 200, 0]])
    noise = rng.integers(-20, 20, (*size_hw, 3))
    return np.clip(colors[label] + noise, 0, 255).astype(np.uint8), label


def plain_folder(root: Path, splits: tuple[str, ...] = ("train", "val"), count: int = 4) -> Path:
    """``count`` scenes a split, as PNGs ``s0``, ``s1``, ..."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text(_CLASSES_YAML)
    for offset, split in enumerate(splits):
        for index in range(count):
            image, label = scene(100 * offset + index)
            put(root / split / "images" / f"s{index}.png", image)
            put(root / split / "labels" / f"s{index}.png", label)
    return root


def put(path: Path, pixels: Pixels) -> None:
    """Write RGB or grey values in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = PIL.Image.registered_extensions()[path.suffix.lower()]
    options = {"lossless": True} if form == "WEBP" else {}
    PIL.Image.fromarray(pixels).save(path, format=form, **options)


def bgr(path: Path) -> Pixels:
    """A PNG without EXIF as OpenCV reads it."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
