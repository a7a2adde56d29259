"""Cityscapes in its own layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from danet_train.data.datasets.layout import Layout, Split, in_order, listing
from danet_train.data.samples.faults import Skipped
from danet_train.errors import NoDatasetError

if TYPE_CHECKING:
    from danet_train.classes import ClassTable

_IMAGES: Final = "leftImg8bit"
_LABELS: Final = "gtFine"
_IMAGE_END: Final = "_leftImg8bit.png"
_LABEL_END: Final = "_gtFine_labelIds.png"


class Cityscapes(Layout):
    """The photographs of one camera by split and city, with fine labels of the same names."""

    name = "Cityscapes"
    help = "Cityscapes as downloaded"
    sign = f"{_IMAGES}/ and {_LABELS}/"
    drawing = f"ROOT/{_IMAGES}/SPLIT/CITY/*{_IMAGE_END}\nROOT/{_LABELS}/SPLIT/CITY/*{_LABEL_END}"
    notes = "The labels are those of the download, labelIds; the class table maps them to the 19 train ids."
    label_folders = (_LABELS, "gtCoarse")
    label_endings = ("_labelIds", "_labelTrainIds", "_instanceIds", "_color")

    def locate(self, root: Path) -> Path | None:
        """Return ``root`` where it has this layout, else None."""
        return root if (root / _IMAGES).is_dir() else None

    def splits(self, root: Path) -> list[str]:
        """Return the folders of the photographs."""
        found = (entry.name for entry in (root / _IMAGES).iterdir() if entry.is_dir())
        return in_order((name for name in found if not name.startswith(".")), ("train", "val"))

    def find_split(self, root: Path, split: str) -> Split:
        """Return the pairs of ``train`` or ``val``, named CITY/STEM.

        Raises:
            NoDatasetError: There is no such split.
        """
        from danet_train.data.samples.sample import Pair

        images = root / _IMAGES / split
        if not images.is_dir():
            raise NoDatasetError(f"{root} has no split {split!r}; it has {listing(root / _IMAGES)}")
        pairs, left_out = [], []
        for image in sorted(images.glob("*/*")):
            if image.name.startswith(".") or not image.name.endswith(_IMAGE_END):
                left_out.append(Skipped(str(image), f"not named *{_IMAGE_END}"))
                continue
            stem = image.name.removesuffix(_IMAGE_END)
            label = root / _LABELS / split / image.parent.name / f"{stem}{_LABEL_END}"
            pairs.append(Pair(f"{image.parent.name}/{stem}", image, label))
        known = {pair.label for pair in pairs}
        for label in sorted((root / _LABELS / split).glob(f"*/*{_LABEL_END}")):
            if label not in known:
                left_out.append(Skipped(str(label), f"a label without an image in {images}"))
        return Split(pairs, f"{images}/CITY/*{_IMAGE_END}", images, left_out)

    def own_classes(self, root: Path, split: str) -> ClassTable:
        """Return the 19 classes that Cityscapes scores."""
        from danet_train.classes import CITYSCAPES

        return CITYSCAPES

    def group(self, root: Path, image: Path) -> str | None:
        """Return the city."""
        return image.parent.name if root / _IMAGES in image.parents else None
