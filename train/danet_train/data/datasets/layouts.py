"""Telling the layouts of a dataset on disk apart. Each has a module, whose first lines draw it.

:mod:`danet_train.data.datasets.cityscapes`, :mod:`danet_train.data.datasets.ade20k`,
:mod:`danet_train.data.datasets.voc2012`, :mod:`danet_train.data.datasets.plain_folder`
"""

from __future__ import annotations

from pathlib import Path

from danet_train.classes import find_classes
from danet_train.data.datasets import ade20k, cityscapes, plain_folder, voc2012
from danet_train.data.datasets.pairing import listing, paired
from danet_train.data.samples.faults import FaultPolicy
from danet_train.data.samples.sample import Dataset
from danet_train.errors import DataError, NoDatasetError, UsageError

_LAYOUTS = (cityscapes, voc2012, ade20k, plain_folder)
"""In the order in which they are looked for; a plain folder would be found in ADE20K's."""


def open_dataset(
    root: Path | str,
    split: str,
    classes: Path | str | None = None,
    *,
    bad_samples: FaultPolicy = "stop",
) -> Dataset:
    """Open one split of the dataset at ``root``, whichever of the layouts it has.

    Args:
        root: Of Cityscapes, ADE20K, PASCAL VOC 2012 or a plain folder, as their modules draw them.
        split: For example ``train`` or ``val``.
        classes: A ``classes.yaml``, or the name of a packaged table (``cityscapes``, ``camvid``, ``ade20k``,
            ``voc2012``); None for the layout's own classes, or the ``classes.yaml`` of a plain folder.
        bad_samples: ``skip`` leaves out images without labels, and lists them in ``Dataset.skipped``.

    Returns:
        The samples in the order of their names. Pictures are read, and their errors raised, at access.

    Raises:
        NoDatasetError: There is no such folder, or no such split.
        DataError: It has none of the layouts, no image, or, under ``stop``, an image without labels.
        ConfigError: The class table cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise NoDatasetError(f"{root} is not a folder; give the root of a dataset")
    for layout in _LAYOUTS:
        place = layout.locate(root)
        if place is None:
            continue
        found = layout.find_split(place, split)
        table = layout.own_classes(place, split) if classes is None else find_classes(classes)
        return paired(found, table, bad_samples)
    raise DataError(
        f"{root} holds neither leftImg8bit/ and gtFine/ (Cityscapes), images/training and annotations/ "
        f"(ADE20K), JPEGImages/ and ImageSets/Segmentation/ (PASCAL VOC), nor {split}/images or images (a "
        f"plain folder); it holds {listing(root)}"
    )


def check_splits_differ(train_split: str, train: Dataset, val_split: str, val: Dataset) -> None:
    """Refuse two splits that are the same files, as a plain folder without split folders gives for any name.

    One name for both is a wish to score on what is learnt from.

    Raises:
        UsageError: The names differ and the images do not.
    """
    learnt, scored = ({pair.image for pair in dataset.pairs} for dataset in (train, val))
    if train_split != val_split and learnt == scored:
        raise UsageError(
            f"the splits {train_split!r} and {val_split!r} are the same {len(val)} images, in "
            f"{val.pairs[0].image.parent}; make a folder for each split ({val_split}/images, ...), or give "
            "--train-split and --val-split one name to score on what is learnt from"
        )
