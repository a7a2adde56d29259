"""A plain folder, for a data set of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from danet_train.data.datasets.layout import Layout, Place, Split, in_order
from danet_train.errors import DataError, NoDatasetError

if TYPE_CHECKING:
    from danet_train.classes import ClassTable

_IMAGES: Final = "images"
_LABELS: Final = "labels"
_CLASSES: Final = "classes.yaml"


class PlainFolder(Layout):
    """Photographs and labels in two folders, with or without a folder a split above them."""

    name = "a plain folder"
    help = (
        f"a folder of SPLIT/{_IMAGES} (with subfolders), SPLIT/{_LABELS} (PNGs of the same names) and "
        f"{_CLASSES}"
    )
    sign = f"SPLIT/{_IMAGES} or {_IMAGES}"
    drawing = (
        f"ROOT/[SPLIT/]{_IMAGES}/[FOLDER/]*.{{png,jpg,bmp,tif,webp, ...}}, in small letters or large ones\n"
        f"ROOT/[SPLIT/]{_LABELS}/[FOLDER/]*.png, of the same folders and stems\n"
        f"ROOT/[SPLIT/]{_CLASSES}"
    )
    label_folders = (_LABELS,)

    def locate(self, root: Path) -> Path | None:
        """Return ``root`` where it or a folder in it has ``images``, else None."""
        return root if (root / _IMAGES).is_dir() or any(root.glob(f"*/{_IMAGES}")) else None

    def splits(self, root: Path) -> list[str]:
        """Return the folders with ``images``, and ``train`` where the root itself has ``images``."""
        found = {path.parent.name for path in root.glob(f"*/{_IMAGES}")}
        return in_order(found | ({"train"} if (root / _IMAGES).is_dir() else set()), ("train", "val"))

    def find_split(self, root: Path, split: str) -> Split:
        """Return the pairs of ROOT/SPLIT, or of ROOT where there is no such folder, named by their paths.

        Raises:
            NoDatasetError: There are other splits, but not this one.
        """
        from danet_train.data.datasets.folder import folders_paired

        folder = _folder(root, split)
        if folder is None:
            splits = sorted(path.parent.name for path in root.glob(f"*/{_IMAGES}"))
            raise NoDatasetError(f"{root} has no split {split!r}; it has {', '.join(splits)}")
        return folders_paired(folder / _IMAGES, folder / _LABELS)

    def own_classes(self, root: Path, split: str) -> ClassTable:
        """Return the ``classes.yaml`` of the split, or of all splits.

        Raises:
            DataError: There is none.
            ConfigError: It cannot be read.
        """
        from danet_train.classes import read_classes

        for place in (_folder(root, split) or root, root):
            if (place / _CLASSES).is_file():
                return read_classes(place / _CLASSES)
        raise DataError(f"{root} has no {_CLASSES}; write one, or name a class table with --classes")

    def around(self, folder: Path) -> Place | None:
        """Return the folder above the split, which is the folder that holds the nearest ``images``."""
        whole = folder.absolute()
        inside = (place for place in (whole, *whole.parents) if place.name == _IMAGES)
        images = next(inside, None)
        if images is None or len(images.parents) < 2:
            return None
        return Place(images.parents[1], images.parent.name)


def _folder(root: Path, split: str) -> Path | None:
    return next((place for place in (root / split, root) if (place / _IMAGES).is_dir()), None)
