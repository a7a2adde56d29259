"""What a layout of a data set on disk states of itself. A layout is a module and a line in ``layouts``.

Modules of layouts import nothing heavy before they are asked for pictures: the help of commands is made of
what they state.
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
    """What a layout finds for one split.

    Attributes:
        pairs: Every image with the place where its labels belong, in the order of their names.
        wanted: The images that were looked for, in words.
        images: The folder that all of them lie below.
        left_out: Files beside them that are no part of the split, and why.
    """

    pairs: list[Pair]
    wanted: str
    images: Path
    left_out: Sequence[Skipped] = ()


class Place(NamedTuple):
    """Where in a data set a folder lies: below its root, and in a split where the path tells which."""

    root: Path
    split: str | None = None


class Layout(ABC):
    """One way in which a data set lies on disk.

    Attributes:
        name: How messages call it.
        help: What the help of commands says of it, a part of a sentence.
        sign: By what it is recognised, for the message where no layout is.
        drawing: Its folders and files, a line each, with the root as ROOT.
        notes: What else is to know of it, sentences; empty where the drawing says all.
        label_folders: Names of folders that hold labels and no photographs, wherever they lie.
        label_endings: Ends of the stems of PNGs that are labels, beside photographs too.
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
        """The folder that has this layout, ``root`` or one in it, else None."""

    @abstractmethod
    def splits(self, root: Path) -> list[str]:
        """The splits that are there, those to learn from first."""

    @abstractmethod
    def find_split(self, root: Path, split: str) -> Split:
        """The pairs of a split.

        Args:
            root: As :meth:`locate` gives it.
            split: Its name.

        Raises:
            NoDatasetError: There is no such split.
            DataError: What tells of the split cannot be read.
        """

    @abstractmethod
    def own_classes(self, root: Path, split: str) -> ClassTable:
        """The classes of its labels, where the user names none.

        Raises:
            DataError: It does not tell.
            ConfigError: The class table cannot be read.
        """

    def around(self, folder: Path) -> Place | None:
        """The data set in this layout that a folder lies in, the nearest above it, or None."""
        above = (place for place in folder.absolute().parents if self.locate(place) == place)
        root = next(above, None)
        return None if root is None else Place(root)

    def group(self, root: Path, image: Path) -> str | None:
        """The place or drive that an image below ``root`` is from, None where the layout does not tell."""
        return None


def in_order(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """Those names that stand in ``first``, in its order, and then the others by the alphabet."""
    there = set(names)
    return [*(name for name in first if name in there), *sorted(there.difference(first))]


def listing(folder: Path) -> str:
    """The first entries of a folder, for a message."""
    entries = sorted(path.name for path in folder.iterdir())
    return ", ".join(entries[:6]) + (", ..." if len(entries) > 6 else "") if entries else "nothing"
