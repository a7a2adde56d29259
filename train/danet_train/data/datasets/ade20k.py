"""ADE20K's scene parsing benchmark in its own layout, as its archive ADEChallengeData2016.zip unpacks.

ROOT/images/{training,validation}/*.jpg, or another picture's suffix
ROOT/annotations/{training,validation}/*.png, of the same stems

ROOT is ADEChallengeData2016 or the folder that holds it. The labels are those of the download: 1..150 are the
classes, 0 is anything else and ignored. 20,210 images are for training, 2,000 for validation.
"""

from __future__ import annotations

from pathlib import Path

from danet_train.classes import ClassTable, find_classes
from danet_train.data.datasets.pairing import Split, listing
from danet_train.data.datasets.plain_folder import folders_paired
from danet_train.errors import NoDatasetError

_FOLDER = "ADEChallengeData2016"
_SPLITS = {"train": "training", "val": "validation"}


def locate(root: Path) -> Path | None:
    """The folder that has this layout, ``root`` or the one in it, else None."""
    for place in (root, root / _FOLDER):
        if (place / "annotations").is_dir() and (place / "images").is_dir():
            return place
    return None


def find_split(root: Path, split: str) -> Split:
    """The pairs of ``train`` or ``val``, or of a split by the name of its folder, named by their stems.

    Raises:
        NoDatasetError: There is no such split.
    """
    folder = _SPLITS.get(split, split)
    images = root / "images" / folder
    if not images.is_dir():
        raise NoDatasetError(f"{root} has no split {split!r} ({images}); it has {listing(root / 'images')}")
    return folders_paired(images, root / "annotations" / folder)


def own_classes(root: Path, split: str) -> ClassTable:
    """The packaged table of 150 classes."""
    return find_classes("ade20k")
