"""PASCAL VOC 2012, with the further labels of Hariharan et al. 2011 (SBD, "Aug") for training.

The split ``train`` is mmsegmentation's: VOC's 1,464 images with VOC's labels, and SBD's other 9,118 with
SBD's. Any other split is the list of that name, with VOC's labels; ``train_voc`` is VOC's train alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from danet_train.data.datasets.layout import Layout, Split, in_order
from danet_train.errors import DataError, NoDatasetError

if TYPE_CHECKING:
    from danet_train.classes import ClassTable

_LISTS: Final = Path("ImageSets") / "Segmentation"
_IMAGES: Final = "JPEGImages"
_OWN, _AUG = "SegmentationClass", "SegmentationClassAug"
_AUG_LISTS: Final = ("aug", "trainaug", "train_aug")


class Voc2012(Layout):
    """All photographs in one folder, and the splits as lists of names."""

    name = "PASCAL VOC"
    help = f"PASCAL VOC 2012 as downloaded (its split train takes {_AUG} and aug.txt, train_voc does not)"
    sign = f"{_IMAGES}/ and {_LISTS.as_posix()}/"
    drawing = (
        f"ROOT/{_IMAGES}/NAME.jpg\n"
        f"ROOT/{_OWN}/NAME.png       VOC's own labels: palette PNGs, 255 ignored\n"
        f"ROOT/{_AUG}/NAME.png    SBD's labels as PNGs of class indices\n"
        f"ROOT/{_LISTS.as_posix()}/{{train,val,aug}}.txt, one name a line"
    )
    notes = (
        "ROOT is VOC2012 or a folder that holds it as VOC2012 or VOCdevkit/VOC2012. The split train is VOC's "
        "own with SBD's further images, train_voc VOC's alone, any other the list of that name. SBD comes as "
        "MATLAB files: mmsegmentation's tools/dataset_converters/voc_aug.py writes "
        f"{_AUG} and aug.txt from them, each label the field GTcls.Segmentation. Where there is no aug.txt "
        "but a trainaug.txt or train_aug.txt, the names in it that train.txt has not are taken."
    )
    label_folders = (_OWN, _AUG, "SegmentationObject")
    learning = ("train", "train_voc")

    def locate(self, root: Path) -> Path | None:
        """Return the folder that has this layout, ``root`` or one in it, else None."""
        for place in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
            if (place / _IMAGES).is_dir() and (place / _LISTS).is_dir():
                return place
        return None

    def splits(self, root: Path) -> list[str]:
        """Return ``train`` where SBD's labels are there, ``train_voc``, ``val``, and the other lists."""
        lists = {entry.stem for entry in (root / _LISTS).glob("*.txt")} - set(_AUG_LISTS)
        if "train" in lists:
            lists |= {"train_voc"}
            if _list_of_further(root) is None:
                lists -= {"train"}
        return in_order(lists, (*self.learning, "val"))

    def find_split(self, root: Path, split: str) -> Split:
        """Return the pairs of a split, named by their stems.

        Raises:
            NoDatasetError: There is no such list.
            DataError: A list does not hold one name a line, or SBD's labels are missing for ``train``.
        """
        from danet_train.data.datasets.name_lists import listed_names, picture_of
        from danet_train.data.samples.sample import Pair

        named = "train" if split == "train_voc" else split
        path = root / _LISTS / f"{named}.txt"
        if not path.is_file():
            lists = sorted(entry.stem for entry in (root / _LISTS).glob("*.txt"))
            raise NoDatasetError(
                f"{root} has no split {split!r} ({path}); it has {', '.join(lists) or 'none'}"
            )
        folders = dict.fromkeys(listed_names(path, root / _IMAGES), _OWN)
        if split == "train":
            folders |= dict.fromkeys(_further_names(root, set(folders)), _AUG)
        pairs = [
            Pair(name, picture_of(root / _IMAGES, name), root / folders[name] / f"{name}.png")
            for name in sorted(folders)
        ]
        return Split(pairs, f"in {path}", root / _IMAGES)

    def own_classes(self, root: Path, split: str) -> ClassTable:
        """Return the packaged table of 21 classes."""
        from danet_train.classes import find_classes

        return find_classes("voc2012")


def _list_of_further(root: Path) -> Path | None:
    """Return the list of SBD's images, where it and the folder of their labels are there."""
    paths = (root / _LISTS / f"{stem}.txt" for stem in _AUG_LISTS)
    return next((path for path in paths if path.is_file() and (root / _AUG).is_dir()), None)


def _further_names(root: Path, own: set[str]) -> list[str]:
    from danet_train.data.datasets.name_lists import listed_names

    path = _list_of_further(root)
    if path is None:
        raise DataError(
            f"the split 'train' of VOC 2012 takes SBD's labels too: {root / _AUG}/*.png and "
            f"{root / _LISTS / 'aug.txt'}; convert SBD to them, or name the split train_voc for VOC's alone"
        )
    return [name for name in listed_names(path, root / _IMAGES) if name not in own]
