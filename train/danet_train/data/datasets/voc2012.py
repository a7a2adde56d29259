"""PASCAL VOC 2012, with the further labels of Hariharan et al. 2011 (SBD, "Aug") for training.

ROOT/JPEGImages/NAME.jpg
ROOT/SegmentationClass/NAME.png       VOC's own labels: palette PNGs, 255 ignored
ROOT/SegmentationClassAug/NAME.png    SBD's labels as PNGs of class indices
ROOT/ImageSets/Segmentation/{train,val,aug}.txt, as :mod:`danet_train.data.datasets.name_lists`

ROOT is VOC2012 or a folder that holds it as VOC2012 or VOCdevkit/VOC2012. SBD comes as MATLAB files:
mmsegmentation's tools/dataset_converters/voc_aug.py writes SegmentationClassAug and aug.txt from them, each
label the field GTcls.Segmentation. Where there is no aug.txt but a trainaug.txt or train_aug.txt, the names
in it that train.txt has not are taken.

The split ``train`` is mmsegmentation's: VOC's 1,464 images with VOC's labels, and SBD's other 9,118 with
SBD's. Any other split is the list of that name, with VOC's labels; ``train_voc`` is VOC's train alone.
"""

from __future__ import annotations

from pathlib import Path

from danet_train.classes import ClassTable, find_classes
from danet_train.data.datasets.name_lists import listed_names, picture_of
from danet_train.data.datasets.pairing import Split
from danet_train.data.samples.sample import Pair
from danet_train.errors import DataError, NoDatasetError

_LISTS = Path("ImageSets") / "Segmentation"
_IMAGES = "JPEGImages"
_OWN, _AUG = "SegmentationClass", "SegmentationClassAug"


def locate(root: Path) -> Path | None:
    """The folder that has this layout, ``root`` or one in it, else None."""
    for place in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (place / "JPEGImages").is_dir() and (place / _LISTS).is_dir():
            return place
    return None


def find_split(root: Path, split: str) -> Split:
    """The pairs of a split, named by their stems.

    Raises:
        NoDatasetError: There is no such list.
        DataError: A list does not hold one name a line, or SBD's labels are missing for ``train``.
    """
    named = "train" if split == "train_voc" else split
    path = root / _LISTS / f"{named}.txt"
    if not path.is_file():
        lists = sorted(entry.stem for entry in (root / _LISTS).glob("*.txt"))
        raise NoDatasetError(f"{root} has no split {split!r} ({path}); it has {', '.join(lists) or 'none'}")
    folders = dict.fromkeys(listed_names(path, root / _IMAGES), _OWN)
    if split == "train":
        folders |= dict.fromkeys(_further_names(root, set(folders)), _AUG)
    pairs = [
        Pair(name, picture_of(root / _IMAGES, name), root / folders[name] / f"{name}.png")
        for name in sorted(folders)
    ]
    return Split(pairs, f"in {path}")


def own_classes(root: Path, split: str) -> ClassTable:
    """The packaged table of 21 classes."""
    return find_classes("voc2012")


def _further_names(root: Path, own: set[str]) -> list[str]:
    for stem in ("aug", "trainaug", "train_aug"):
        path = root / _LISTS / f"{stem}.txt"
        if path.is_file() and (root / _AUG).is_dir():
            return [name for name in listed_names(path, root / _IMAGES) if name not in own]
    raise DataError(
        f"the split 'train' of VOC 2012 takes SBD's labels too: {root / _AUG}/*.png and "
        f"{root / _LISTS / 'aug.txt'}; convert SBD to them, or name the split train_voc for VOC's alone"
    )
