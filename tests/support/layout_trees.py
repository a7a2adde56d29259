"""Small data sets on disk in each of the known layouts, as their downloads unpack."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image

TRAIN, VAL = 8, 3
"""Photographs of each split; a calibration asks for eight."""

SIZE_HW = (64, 128)
_VOC_COLORS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


class Tree(NamedTuple):
    """A data set and the truth about it.

    Attributes:
        root: What a user gives.
        train: The label of each photograph of the training split.
        val: Names of the validation split.
        photographs: The folder that all photographs lie below.
        labels: The folders of labels.
    """

    root: Path
    train: dict[Path, Path]
    val: dict[Path, Path]
    photographs: Path
    labels: tuple[Path, ...]


def cityscapes(root: Path) -> Tree:
    """Two cities in train, one in val, and a test split."""
    splits: dict[str, dict[Path, Path]] = {"train": {}, "val": {}, "test": {}}
    cities = {"train": ("aachen", "ulm"), "val": ("lindau",), "test": ("berlin",)}
    for split, count in (("train", TRAIN), ("val", VAL), ("test", 2)):
        for number in range(count):
            city = cities[split][number % len(cities[split])]
            stem = f"{split}/{city}/{city}_{number:06}_000019"
            image, label = (
                root / f"leftImg8bit/{stem}_leftImg8bit.png",
                root / f"gtFine/{stem}_gtFine_labelIds.png",
            )
            _photograph(image, split, number)
            _grey(label, (0, 7, 26, 33))
            _in_colors(label.with_name(label.name.replace("labelIds", "color")))
            splits[split][image] = label
    return Tree(root, splits["train"], splits["val"], root / "leftImg8bit", (root / "gtFine",))


def ade20k(root: Path) -> Tree:
    """The validation split comes first by the alphabet of its names, the training split by its folder."""
    found: dict[str, dict[Path, Path]] = {"training": {}, "validation": {}}
    for folder, name, count in (("training", "train", TRAIN), ("validation", "val", VAL)):
        for number in range(count):
            stem = f"{folder}/ADE_{name}_{number:08}"
            image, label = root / f"images/{stem}.jpg", root / f"annotations/{stem}.png"
            _photograph(image, name, number)
            _grey(label, (0, 1, 2, 150))
            found[folder][image] = label
    return Tree(root, found["training"], found["validation"], root / "images", (root / "annotations",))


def voc2012(root: Path) -> Tree:
    """Half of the training split has VOC's own labels, half those of SBD."""
    found: dict[str, dict[Path, Path]] = {"train": {}, "val": {}}
    lists: dict[str, list[str]] = {"train": [], "aug": [], "val": []}
    for split, count in (("train", TRAIN), ("val", VAL)):
        for number in range(count):
            name = f"20{'07' if split == 'train' else '08'}_{number:06}"
            image = root / f"JPEGImages/{name}.jpg"
            _photograph(image, split, number)
            is_aug = split == "train" and number % 2 == 1
            label = root / f"SegmentationClass{'Aug' if is_aug else ''}/{name}.png"
            if is_aug:
                _grey(label, (0, 1, 3, 20))
            else:
                _in_colors(label)
                _in_colors(root / f"SegmentationObject/{name}.png")
            lists["aug" if is_aug else split].append(name)
            found[split][image] = label
    folder = root / "ImageSets/Segmentation"
    folder.mkdir(parents=True)
    for split, names in {**lists, "trainval": [*lists["train"], *lists["val"]]}.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    kinds = ("SegmentationClass", "SegmentationClassAug", "SegmentationObject")
    labels = tuple(root / kind for kind in kinds)
    return Tree(root, found["train"], found["val"], root / "JPEGImages", labels)


def plain_folder(root: Path) -> Tree:
    """With a folder a split, and one below it."""
    found: dict[str, dict[Path, Path]] = {"train": {}, "val": {}}
    for split, count in (("train", TRAIN), ("val", VAL)):
        for number in range(count):
            name = f"drive/{number}" if number % 2 else str(number)
            image, label = root / split / f"images/{name}.jpg", root / split / f"labels/{name}.png"
            _photograph(image, split, number)
            _in_colors(label)
            found[split][image] = label
    names = "".join(f"  - {{name: c{index}, color: [{index}, 9, 9]}}\n" for index in range(4))
    (root / "classes.yaml").write_text(f"classes:\n{names}")
    folders = (root / "train/labels", root / "val/labels")
    return Tree(root, found["train"], found["val"], root, folders)


TREES = {"cityscapes": cityscapes, "ade20k": ade20k, "voc2012": voc2012, "plain folder": plain_folder}


def _photograph(path: Path, split: str, number: int) -> None:
    """Smooth random shapes, of which none shows what another does."""
    rng = np.random.default_rng([number, *split.encode()])
    coarse = rng.integers(0, 255, (8, 16, 3), np.uint8)
    size = SIZE_HW[::-1]
    _save(path, PIL.Image.fromarray(coarse).resize(size, PIL.Image.Resampling.BICUBIC))


def _values(values: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    columns = np.repeat(np.array(values, np.uint8), SIZE_HW[1] // len(values))
    return np.tile(columns, (SIZE_HW[0], 1))


def _grey(path: Path, values: tuple[int, ...]) -> None:
    _save(path, PIL.Image.fromarray(_values(values)))


def _in_colors(path: Path) -> None:
    """Classes 0 to 3 as a palette PNG, which a decoder of photographs reads as a picture in colors."""
    picture = PIL.Image.fromarray(_values((0, 1, 2, 3)))
    picture.putpalette(_VOC_COLORS)
    _save(path, picture)


def _save(path: Path, picture: PIL.Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
