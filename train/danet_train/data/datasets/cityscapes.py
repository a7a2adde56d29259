"""Cityscapes in its own layout.

ROOT/leftImg8bit/SPLIT/CITY/*_leftImg8bit.png
ROOT/gtFine/SPLIT/CITY/*_gtFine_labelIds.png

The labels are those of the download, ``labelIds``; the class table maps them to the 19 train ids.
"""

from __future__ import annotations

from pathlib import Path

from danet_train.classes import CITYSCAPES, ClassTable
from danet_train.data.datasets.pairing import Split, listing
from danet_train.data.samples.faults import Skipped
from danet_train.data.samples.sample import Pair
from danet_train.errors import NoDatasetError

_IMAGE = "_leftImg8bit.png"
_LABEL = "_gtFine_labelIds.png"


def locate(root: Path) -> Path | None:
    """``root`` where it has this layout, else None."""
    return root if (root / "leftImg8bit").is_dir() else None


def find_split(root: Path, split: str) -> Split:
    """The pairs of ``train`` or ``val``, named CITY/STEM.

    Raises:
        NoDatasetError: There is no such split.
    """
    images = root / "leftImg8bit" / split
    if not images.is_dir():
        raise NoDatasetError(f"{root} has no split {split!r}; it has {listing(root / 'leftImg8bit')}")
    pairs, left_out = [], []
    for image in sorted(images.glob("*/*")):
        if image.name.startswith(".") or not image.name.endswith(_IMAGE):
            left_out.append(Skipped(str(image), f"not named *{_IMAGE}"))
            continue
        stem = image.name.removesuffix(_IMAGE)
        label = root / "gtFine" / split / image.parent.name / f"{stem}{_LABEL}"
        pairs.append(Pair(f"{image.parent.name}/{stem}", image, label))
    known = {pair.label for pair in pairs}
    for label in sorted((root / "gtFine" / split).glob(f"*/*{_LABEL}")):
        if label not in known:
            left_out.append(Skipped(str(label), f"a label without an image in {images}"))
    return Split(pairs, f"{images}/CITY/*{_IMAGE}", left_out)


def own_classes(root: Path, split: str) -> ClassTable:
    """The 19 classes that Cityscapes scores."""
    return CITYSCAPES
