"""ADE20K's scene parsing benchmark in its own layout, as its archive ADEChallengeData2016.zip unpacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from danet_train.data.datasets.layout import Layout, Split, in_order, listing
from danet_train.errors import NoDatasetError

if TYPE_CHECKING:
    from danet_train.classes import ClassTable

_FOLDER: Final = "ADEChallengeData2016"
_IMAGES: Final = "images"
_LABELS: Final = "annotations"
_SPLITS: Final = {"train": "training", "val": "validation"}


class Ade20k(Layout):
    """Photographs and labels in two folders, each with one a split."""

    name = "ADE20K"
    help = f"ADE20K ({_FOLDER}) as downloaded"
    sign = f"{_IMAGES}/training and {_LABELS}/"
    drawing = (
        f"ROOT/{_IMAGES}/{{training,validation}}/*.jpg, or another picture's suffix\n"
        f"ROOT/{_LABELS}/{{training,validation}}/*.png, of the same stems"
    )
    notes = (
        f"ROOT is {_FOLDER} or the folder that holds it. The splits train and val are the folders training "
        "and validation, of 20,210 and 2,000 images. The labels are those of the download: 1..150 are the "
        "classes, 0 is anything else and ignored."
    )
    label_folders = (_LABELS,)

    def locate(self, root: Path) -> Path | None:
        """Return the folder that has this layout, ``root`` or the one in it, else None."""
        for place in (root, root / _FOLDER):
            if (place / _LABELS).is_dir() and (place / _IMAGES).is_dir():
                return place
        return None

    def splits(self, root: Path) -> list[str]:
        """Return ``train``, ``val``, and the other folders by their names."""
        split_of = {folder: split for split, folder in _SPLITS.items()}
        found = (entry.name for entry in (root / _IMAGES).iterdir() if entry.is_dir())
        return in_order((split_of.get(name, name) for name in found), tuple(_SPLITS))

    def find_split(self, root: Path, split: str) -> Split:
        """Return the pairs of ``train``, ``val`` or a split by its folder's name, named by their stems.

        Raises:
            NoDatasetError: There is no such split.
        """
        from danet_train.data.datasets.folder import folders_paired

        folder = _SPLITS.get(split, split)
        images = root / _IMAGES / folder
        if not images.is_dir():
            raise NoDatasetError(
                f"{root} has no split {split!r} ({images}); it has {listing(root / _IMAGES)}"
            )
        return folders_paired(images, root / _LABELS / folder)

    def own_classes(self, root: Path, split: str) -> ClassTable:
        """Return the packaged table of 150 classes."""
        from danet_train.classes import find_classes

        return find_classes("ade20k")
