"""The labels of a calibration set, where it comes from a labelled data set in a known layout."""

from __future__ import annotations

from pathlib import Path

from danet_calibration.images.images import CalibrationSet
from danet_train.classes import describe_difference
from danet_train.data.datasets.layouts import layout_names
from danet_train.data.datasets.membership import split_of
from danet_train.data.samples.sample import Dataset, Pair
from danet_train.errors import DataError


class NoLabelsError(Exception):
    """The set has no labels that fit; the message says why."""


def find_labels(
    images: CalibrationSet, names: tuple[str, ...], classes: Path | str | None
) -> tuple[list[Path], Dataset]:
    """Return the label image of each file of a set, and the data set that says what the labels mean.

    Args:
        images: The set.
        names: The bundle's classes, which the labels must have.
        classes: Class table for a folder without one, see
            :func:`danet_train.data.datasets.layouts.open_dataset`.

    Raises:
        NoLabelsError: The set is not from a labelled data set of these classes.
        ConfigError: The class table cannot be read.
    """
    split = split_of(images.files[0])
    if split is None:
        raise NoLabelsError(
            f"{images.files[0].parent} is no folder of a labelled data set ({layout_names()})"
        )
    try:
        dataset = split.dataset(classes)
    except DataError as error:
        raise NoLabelsError(str(error)) from error
    root = split.root
    difference = describe_difference(names, dataset.classes.names, "the bundle", f"the labels at {root}")
    if difference is not None:
        raise NoLabelsError(difference)
    places = {pair.image.resolve(): pair.label for pair in dataset.pairs}
    labels = [places.get(file.resolve()) for file in images.files]
    if None in labels:
        raise NoLabelsError(f"{images.files[labels.index(None)]} is not among the labelled images of {root}")
    return [label for label in labels if label is not None], dataset


def labelled_frames(
    images: CalibrationSet, names: tuple[str, ...], classes: Path | str | None
) -> Dataset | None:
    """Return a set's frames with their labels, or ``None`` where it has none of these classes.

    Args:
        images: The set.
        names: The bundle's classes.
        classes: Class table, see :func:`find_labels`.

    Raises:
        ConfigError: The class table cannot be read.
    """
    try:
        labels, dataset = find_labels(images, names, classes)
    except NoLabelsError:
        return None
    pairs = [Pair(file.name, file, label) for file, label in zip(images.files, labels, strict=True)]
    return Dataset(pairs, dataset.classes)
