"""The two layouts of a dataset on disk, and telling them apart.

Cityscapes' own:  ROOT/leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, ROOT/gtFine/SPLIT/CITY/*_gtFine_labelIds.png
A plain folder:   ROOT/[SPLIT/]images/*.{png,jpg,jpeg}, ROOT/[SPLIT/]labels/*.png, classes.yaml beside them
"""

from __future__ import annotations

from pathlib import Path

from danet_train.classes import CITYSCAPES, ClassTable, find_classes, read_classes
from danet_train.data.faults import FaultPolicy, Skipped
from danet_train.data.sample import Dataset, Pair
from danet_train.errors import DataError, NoDatasetError

_IMAGE = "_leftImg8bit.png"
_LABEL = "_gtFine_labelIds.png"
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


def open_dataset(
    root: Path | str, split: str, classes: Path | str | None = None, *, bad_samples: FaultPolicy = "stop"
) -> Dataset:
    """Open one split of the dataset at ``root``, whichever of the two layouts it has.

    Args:
        root: Holds ``leftImg8bit`` and ``gtFine``, or ``images`` and ``labels`` (with or without SPLIT/).
        split: For example ``train`` or ``val``.
        classes: A ``classes.yaml``, or the name of a packaged table (``cityscapes``, ``camvid``); None for
            Cityscapes' own classes, or the ``classes.yaml`` of a plain folder.
        bad_samples: ``skip`` leaves out images without labels, and lists them in ``Dataset.skipped``.

    Returns:
        The samples in the order of their names. Pictures are read, and their errors raised, at access.

    Raises:
        NoDatasetError: There is no such folder, or no such split.
        DataError: It has neither layout, no image, or an image without labels.
        ConfigError: The class table cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise NoDatasetError(f"{root} is not a folder; give the root of a dataset")
    if (root / "leftImg8bit").is_dir():
        table = CITYSCAPES if classes is None else find_classes(classes)
        return _open_cityscapes(root, split, table, bad_samples)
    for folder in (root / split, root):
        if (folder / "images").is_dir():
            return _open_folder(folder, root, classes, bad_samples)
    if splits := sorted(path.parent.name for path in root.glob("*/images")):
        raise NoDatasetError(f"{root} has no split {split!r}; it has {', '.join(splits)}")
    raise DataError(
        f"{root} holds neither leftImg8bit/ and gtFine/ (Cityscapes) nor {split}/images or images (a plain "
        f"folder); it holds {_listing(root)}"
    )


def _open_cityscapes(root: Path, split: str, classes: ClassTable, policy: FaultPolicy) -> Dataset:
    images = root / "leftImg8bit" / split
    if not images.is_dir():
        raise NoDatasetError(f"{root} has no split {split!r}; it has {_listing(root / 'leftImg8bit')}")
    pairs = []
    for image in sorted(images.glob(f"*/*{_IMAGE}")):
        stem = image.name.removesuffix(_IMAGE)
        label = root / "gtFine" / split / image.parent.name / f"{stem}{_LABEL}"
        pairs.append(Pair(f"{image.parent.name}/{stem}", image, label))
    return _checked(pairs, f"{images}/CITY/*{_IMAGE}", classes, policy)


def _open_folder(folder: Path, root: Path, classes: Path | str | None, policy: FaultPolicy) -> Dataset:
    images = [path for path in sorted((folder / "images").iterdir()) if path.suffix.lower() in _SUFFIXES]
    pairs = [Pair(image.stem, image, folder / "labels" / f"{image.stem}.png") for image in images]
    table = _classes_of_folder(folder, root, classes)
    return _checked(pairs, f"{folder / 'images'}/*.png or *.jpg", table, policy)


def _classes_of_folder(folder: Path, root: Path, classes: Path | str | None) -> ClassTable:
    if classes is not None:
        return find_classes(classes)
    for candidate in (folder / "classes.yaml", root / "classes.yaml"):
        if candidate.is_file():
            return read_classes(candidate)
    raise DataError(f"{root} has no classes.yaml; write one, or name a class table with --classes")


def _checked(pairs: list[Pair], wanted: str, classes: ClassTable, policy: FaultPolicy) -> Dataset:
    if not pairs:
        raise DataError(f"there is no image {wanted}")
    unlabelled = [pair for pair in pairs if not pair.label.is_file()]
    if unlabelled and (policy == "stop" or len(unlabelled) == len(pairs)):
        first = unlabelled[0]
        raise DataError(
            f"{len(unlabelled)} of {len(pairs)} images have no labels; {first.image} needs {first.label}"
        )
    names = [pair.name for pair in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two images share the name {twice!r} and so its labels; rename one of them")
    skipped = [
        Skipped(pair.name, f"{pair.image} has no labels; it needs {pair.label}") for pair in unlabelled
    ]
    return Dataset([pair for pair in pairs if pair not in unlabelled], classes, skipped)


def _listing(folder: Path) -> str:
    entries = sorted(path.name for path in folder.iterdir())
    return ", ".join(entries[:6]) + (", ..." if len(entries) > 6 else "") if entries else "nothing"
