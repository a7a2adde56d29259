"""The known layouts of data sets; open a data set in any of them.

A layout is added as a module with its class (:class:`danet_train.data.datasets.layout.Layout`) and a line in
``LAYOUTS``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from danet_train.config.inheritance import packaged_class_tables
from danet_train.data.datasets.ade20k import Ade20k
from danet_train.data.datasets.cityscapes import Cityscapes
from danet_train.data.datasets.layout import Layout, listing
from danet_train.data.datasets.plain_folder import PlainFolder
from danet_train.data.datasets.voc2012 import Voc2012
from danet_train.data.samples.faults import FaultPolicy
from danet_train.errors import DataError, NoDatasetError, UsageError

if TYPE_CHECKING:
    from danet_train.data.samples.sample import Dataset

LAYOUTS: tuple[Layout, ...] = (
    Cityscapes(),
    Voc2012(),
    Ade20k(),
    PlainFolder(),
)
"""The known layouts, in the order of the search: ADE20K's also looks like a plain folder."""


def open_dataset(
    root: Path | str,
    split: str,
    classes: Path | str | None = None,
    *,
    bad_samples: FaultPolicy = "stop",
) -> Dataset:
    """Open one split of the dataset at ``root``, which has one of the known layouts.

    Args:
        root: Root of a dataset in one of ``LAYOUTS`` (``danet train --list-layouts`` draws them).
        split: Name of the split, for example ``train`` or ``val``.
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
    from danet_train.classes import find_classes
    from danet_train.data.datasets.pairing import paired

    layout, place = find_layout(Path(root))
    found = layout.find_split(place, split)
    table = layout.own_classes(place, split) if classes is None else find_classes(classes)
    return paired(found, table, bad_samples)


def find_layout(root: Path) -> tuple[Layout, Path]:
    """Return the layout of the dataset at ``root``, and the folder that has it.

    Raises:
        NoDatasetError: There is no such folder.
        DataError: It has none of the layouts.
    """
    if not root.is_dir():
        raise NoDatasetError(f"{root} is not a folder; give the root of a dataset")
    for layout in LAYOUTS:
        place = layout.locate(root)
        if place is not None:
            return layout, place
    *others, last = (f"{layout.sign} ({layout.name})" for layout in LAYOUTS)
    raise DataError(
        f"{root} holds neither {', '.join(others)}, nor {last}; it holds {listing(root)}; `danet data init` "
        "makes a dataset of pictures and masks that lie otherwise"
    )


def check_splits_differ(train_split: str, train: Dataset, val_split: str, val: Dataset) -> None:
    """Refuse two splits that are the same files, as a plain folder without split folders gives for any name.

    The same name for both is allowed: it means to score on the training images.

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


def data_help() -> str:
    """Return the help of the option that takes a dataset."""
    *others, last = (layout.help for layout in LAYOUTS)
    return f"Root of the dataset: {', '.join(others)}, or {last}."


def layout_names() -> str:
    """Return the names of the layouts, for a message or a help."""
    return ", ".join(layout.name for layout in LAYOUTS)


def classes_help() -> str:
    """Return the help of the option that takes a class table."""
    return f"A classes.yaml, or the name of a table: {', '.join(packaged_class_tables())}."


def drawn_layouts() -> str:
    """Return every layout by name, with its sign and a drawing of its folders, for a terminal."""
    parts = []
    for layout in LAYOUTS:
        drawing = "\n".join(f"    {line}" for line in layout.drawing.splitlines())
        parts.append(f"{layout.name}, recognised by {layout.sign}:\n\n{drawing}\n")
        if layout.notes:
            parts.append(f"{layout.notes}\n")
    return "\n".join(parts)
