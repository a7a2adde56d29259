"""The interface of a layout of a data set on disk. A layout is a module and a line in ``layouts``.

Modules of layouts import nothing heavy before they are asked for pictures: the help of commands is made from
them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from danet_train.classes import ClassTable
    from danet_train.data.samples.faults import Skipped
    from danet_train.data.samples.sample import Pair


class Split(NamedTuple):
    """The files of one split.

    Attributes:
        pairs: Every image with the place where its labels belong, in the order of their names.
        wanted: Description of the images that were searched for.
        images: The folder that all of them lie below.
        left_out: Files beside them that are no part of the split, with the reasons.
    """

    pairs: list[Pair]
    wanted: str
    images: Path
    left_out: Sequence[Skipped] = ()


class Place(NamedTuple):
    """The root of the data set that a folder lies in, and its split where the path names it."""

    root: Path
    split: str | None = None


class Layout(ABC):
    """One arrangement of a data set on disk.

    Attributes:
        name: Its name in messages.
        help: Its description in the help of commands, a part of a sentence.
        sign: The files or folders that it is recognised by, for the message where no layout fits.
        drawing: Its folders and files, a line each, with the root as ROOT.
        notes: Further sentences about it; empty where the drawing is enough.
        label_folders: Names of folders that hold labels and no photographs, wherever they lie.
        label_endings: Endings of the stems of PNGs that are labels, also beside photographs.
        learning: Its splits to learn from, the best first.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    sign: ClassVar[str]
    drawing: ClassVar[str]
    notes: ClassVar[str] = ""
    label_folders: ClassVar[tuple[str, ...]]
    label_endings: ClassVar[tuple[str, ...]] = ()
    learning: ClassVar[tuple[str, ...]] = ("train",)

    @abstractmethod
    def locate(self, root: Path) -> Path | None:
        """Return the folder that has this layout, ``root`` or one in it, else None."""

    @abstractmethod
    def splits(self, root: Path) -> list[str]:
        """Return the splits that exist, those to learn from first."""

    @abstractmethod
    def find_split(self, root: Path, split: str) -> Split:
        """Return the pairs of a split.

        Args:
            root: The folder that :meth:`locate` returned.
            split: Name of the split.

        Raises:
            NoDatasetError: There is no such split.
            DataError: The list of the split cannot be read.
        """

    @abstractmethod
    def own_classes(self, root: Path, split: str) -> ClassTable:
        """Return the classes of its labels, where the user names none.

        Raises:
            DataError: It names none.
            ConfigError: The class table cannot be read.
        """

    def around(self, folder: Path) -> Place | None:
        """Return the data set in this layout that a folder lies in, the nearest above it, or None."""
        above = (place for place in folder.absolute().parents if self.locate(place) == place)
        root = next(above, None)
        return None if root is None else Place(root)

    def group(self, root: Path, image: Path) -> str | None:
        """Return the place or drive of an image below ``root``; None where the layout names none."""
        return None


def in_order(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return the names in ``first``, in its order, and then the others by the alphabet."""
    there = set(names)
    return [*(name for name in first if name in there), *sorted(there.difference(first))]


def listing(folder: Path) -> str:
    """Return the first entries of a folder, for a message."""
    entries = sorted(path.name for path in folder.iterdir())
    return ", ".join(entries[:6]) + (", ..." if len(entries) > 6 else "") if entries else "nothing"
