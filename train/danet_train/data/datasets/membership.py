"""Find the data set of a folder or a picture, for commands that are given photographs and no root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from danet_train.classes import find_classes
from danet_train.data.datasets import layouts
from danet_train.data.datasets.layout import Layout, Place, Split
from danet_train.data.datasets.pairing import paired, require_images
from danet_train.data.samples.sample import Dataset
from danet_train.errors import DataError, UsageError


class Membership(NamedTuple):
    """A split of a data set, in the layout that it was found in.

    Attributes:
        layout: The layout of the data set.
        root: The folder that the layout located.
        split: The name of the split.
        found: The pairs of the split; files and labels need not exist.
    """

    layout: Layout
    root: Path
    split: str
    found: Split

    def dataset(self, classes: Path | str | None = None) -> Dataset:
        """Return the split with its labels.

        Args:
            classes: Class table, see :func:`danet_train.data.datasets.layouts.open_dataset`.

        Raises:
            DataError: It has no labels or not all, or there is no class table.
            ConfigError: The class table cannot be read.
        """
        own = self.layout.own_classes(self.root, self.split) if classes is None else find_classes(classes)
        return paired(self.found, own, "stop")


def training_split(folder: Path) -> Membership | None:
    """Return the training split of the data set that ``folder`` is, holds, or lies in.

    None where it is of no known layout, has no such split, or lies where none of its pictures are.

    Raises:
        DataError: The split of the data set at ``folder`` has no image, or cannot be read.
    """
    for layout, place, is_whole in _places(folder):
        there = [place.split] if place.split is not None else layout.splits(place.root)
        for split in layout.learning:
            if split not in there:
                continue
            found = layout.find_split(place.root, split)
            if is_whole:
                require_images(found)
            if is_whole or any(folder.absolute() in pair.image.absolute().parents for pair in found.pairs):
                return Membership(layout, place.root, split, found)
    return None


def split_of(picture: Path) -> Membership | None:
    """Return the split of a picture; None where it is in no data set of a known layout.

    Where it is in several, the one that comes first in the layout's order.
    """
    whole = picture.absolute()
    for layout in layouts.LAYOUTS:
        place = layout.around(whole.parent)
        if place is None:
            continue
        for split in [place.split] if place.split is not None else layout.splits(place.root):
            try:
                found = layout.find_split(place.root, split)
            except DataError:  # of a list that is damaged, for example; another may have the picture
                continue
            if any(pair.image == whole for pair in found.pairs):
                return Membership(layout, place.root, split, found)
    return None


def pictures_of_split(folder: Path, split: str | None = None) -> tuple[Path, list[Path]] | None:
    """Return the folder and the pictures of one split of the data set at ``folder``, for ``danet compare``.

    Never of several splits, since a network may have learnt from some of them.

    Args:
        folder: A data set.
        split: Name of the split; None for ``val``, or the only one that exists.

    Returns:
        None where the folder is of no known layout.

    Raises:
        UsageError: There are several splits and no ``val``.
        DataError: There is no such split, or it has no picture.
    """
    for layout in layouts.LAYOUTS:
        root = layout.locate(folder)
        if root is None:
            continue
        if split is None:
            there = layout.splits(root)
            if len(there) != 1 and "val" not in there:
                raise UsageError(
                    f"{folder} has the splits {', '.join(there)}, but no val; name one with --split"
                )
            split = "val" if "val" in there else there[0]
        found = layout.find_split(root, split)
        require_images(found)
        return found.images, [pair.image for pair in found.pairs if pair.image.is_file()]
    return None


def groups_of(pictures: Sequence[Path]) -> list[str | None]:
    """Return the place or drive that each picture is from; None where no layout names it."""
    known: dict[Path, list[tuple[Layout, Path]]] = {}
    groups = []
    for picture in pictures:
        whole = picture.absolute()
        if whole.parent not in known:
            around = ((layout, layout.around(whole.parent)) for layout in layouts.LAYOUTS)
            known[whole.parent] = [(layout, place.root) for layout, place in around if place is not None]
        candidates = (layout.group(root, whole) for layout, root in known[whole.parent])
        groups.append(next((group for group in candidates if group is not None), None))
    return groups


def label_folders() -> frozenset[str]:
    """Return the names of folders that hold labels in one of the layouts."""
    return frozenset(name for layout in layouts.LAYOUTS for name in layout.label_folders)


def label_endings() -> tuple[str, ...]:
    """Return the endings of the stems of PNGs that are labels in one of the layouts."""
    return tuple(ending for layout in layouts.LAYOUTS for ending in layout.label_endings)


def _places(folder: Path) -> Iterator[tuple[Layout, Place, bool]]:
    """Yield each layout that ``folder`` has or lies in, and whether it is the whole data set."""
    for layout in layouts.LAYOUTS:
        root = layout.locate(folder)
        if root is not None:
            yield layout, Place(root), True
        elif (around := layout.around(folder)) is not None:
            yield layout, around, False
