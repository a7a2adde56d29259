"""The ground truth of single pictures, for ``danet compare``, which is given photographs and no data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from danet_train.classes import describe_difference, find_classes
from danet_train.config.inheritance import packaged_class_tables
from danet_train.data.datasets.membership import Membership, split_of
from danet_train.errors import DanetTrainError, DataError

if TYPE_CHECKING:
    from danet_train.classes import ClassTable
    from danet_train.data.samples.sample import Image, Pair

_logger = logging.getLogger(__name__)


def ground_truth_of(pictures: Sequence[Path], names: Sequence[str]) -> list[Image | None]:
    """Return the labels of each picture, where it lies in a data set of a known layout.

    What is in the way, such as other classes or a damaged file, is logged once and costs the labels alone.

    Args:
        pictures: The pictures.
        names: Names of the classes that the labels are to stand for, in their order.

    Returns:
        (H, W) uint8 train ids of the upright picture, 255 where ignored; None where there are none.
    """
    places: dict[Path, tuple[dict[Path, Pair], ClassTable] | None] = {}
    found: list[Image | None] = []
    for picture in (picture.absolute() for picture in pictures):
        if picture.parent not in places:
            places[picture.parent] = _labelled(picture, names)
        place = places[picture.parent]
        pair = None if place is None else place[0].get(picture)
        found.append(None if place is None or pair is None else _labels(pair, place[1]))
    return found


def _labelled(picture: Path, names: Sequence[str]) -> tuple[dict[Path, Pair], ClassTable] | None:
    membership = split_of(picture)
    if membership is None:
        return None
    try:
        table = _table(membership, names)
    except DanetTrainError as error:
        _logger.warning("the pictures show no ground truth: %s", error)
        return None
    pairs = {pair.image.absolute(): pair for pair in membership.found.pairs if pair.label.is_file()}
    return None if table is None else (pairs, table)


def _table(membership: Membership, names: Sequence[str]) -> ClassTable | None:
    try:
        table = membership.layout.own_classes(membership.root, membership.split)
    except DataError:  # a folder without classes.yaml: a packaged table of just these names fits
        for name in packaged_class_tables():
            if describe_difference(names, (packaged := find_classes(name)).names, "", "") is None:
                return packaged
        raise
    difference = describe_difference(names, table.names, "the bundle", str(membership.root))
    if difference is not None:
        _logger.warning("the pictures show no ground truth: %s", difference)
        return None
    return table


def _labels(pair: Pair, table: ClassTable) -> Image | None:
    from danet_train.data.samples.sample import fitted_label, read_image, read_label

    try:
        size_hw = read_image(pair.image).shape[:2]
        labels = table.decode(read_label(pair.label), str(pair.label))
        return fitted_label(labels, pair.image, (size_hw[0], size_hw[1]), pair.label)
    except DanetTrainError as error:
        _logger.warning("a picture shows no ground truth: %s", error)
        return None
