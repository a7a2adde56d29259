"""A plain folder, for a data set of one's own.

ROOT/[SPLIT/]images/[FOLDER/]*.{png,jpg,bmp,tif,webp, ...}, in small letters or large ones
ROOT/[SPLIT/]labels/[FOLDER/]*.png, of the same folders and stems
ROOT/[SPLIT/]classes.yaml
"""

from __future__ import annotations

from pathlib import Path

from danet_train.classes import ClassTable, read_classes
from danet_train.data.datasets.folder import labels_below, pictures_below
from danet_train.data.datasets.pairing import Split
from danet_train.data.samples.sample import Pair
from danet_train.errors import DataError, NoDatasetError


def locate(root: Path) -> Path | None:
    """``root`` where it or a folder in it has ``images``, else None."""
    return root if (root / "images").is_dir() or any(root.glob("*/images")) else None


def find_split(root: Path, split: str) -> Split:
    """The pairs of ROOT/SPLIT, or of ROOT itself where it has no such folder, named by their paths.

    Raises:
        NoDatasetError: There are other splits, but not this one.
    """
    folder = _folder(root, split)
    if folder is None:
        splits = sorted(path.parent.name for path in root.glob("*/images"))
        raise NoDatasetError(f"{root} has no split {split!r}; it has {', '.join(splits)}")
    return folders_paired(folder / "images", folder / "labels")


def folders_paired(images: Path, labels: Path) -> Split:
    """Every picture below one folder with the label of its name below another, and what is left over."""
    found, known = pictures_below(images), labels_below(labels)
    pairs = [Pair(name, image, known.place(labels, name)) for name, image in found.pictures]
    left_out = [*found.left_out, *known.left_out({pair.name for pair in pairs}, images)]
    return Split(pairs, f"in {images}", left_out)


def own_classes(root: Path, split: str) -> ClassTable:
    """The ``classes.yaml`` of the split, or of all splits.

    Raises:
        DataError: There is none.
        ConfigError: It cannot be read.
    """
    for place in (_folder(root, split) or root, root):
        if (place / "classes.yaml").is_file():
            return read_classes(place / "classes.yaml")
    raise DataError(f"{root} has no classes.yaml; write one, or name a class table with --classes")


def _folder(root: Path, split: str) -> Path | None:
    return next((place for place in (root / split, root) if (place / "images").is_dir()), None)
