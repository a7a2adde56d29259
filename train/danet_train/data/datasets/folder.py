"""Find pictures in a folder and their labels in another: one rule for every layout."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from danet_train.data.datasets.layout import Split
from danet_train.data.samples.faults import Skipped
from danet_train.data.samples.sample import Pair
from danet_train.pictures.decoding import PICTURE_SUFFIXES

LABEL_SUFFIX: Final = ".png"


def why_left_out(name: str) -> str | None:
    """Return why a file of that name is not taken for a picture, in words; None where it is taken."""
    if name.startswith("."):
        return "a hidden file (macOS leaves ._NAME beside NAME)"
    suffix = Path(name).suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        return f"no picture by its suffix ({', '.join(PICTURE_SUFFIXES)} are taken)"
    return None


def files_below(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield every file below a folder, and why it is left out; None where it is a picture.

    Links are followed, and each folder is entered once. A hidden folder (``.ipynb_checkpoints``,
    ``.thumbnails``) is left out as a whole.
    """
    entered = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:  # a link back to it, or a second one
            folders.clear()
            continue
        entered.add(real)
        hidden = sorted(name for name in folders if name.startswith("."))
        folders[:] = sorted(set(folders) - set(hidden))
        yield from ((Path(place, name), "a hidden folder") for name in hidden)
        yield from ((Path(place, name), why_left_out(name)) for name in sorted(files))


class Folder(NamedTuple):
    """The pictures below a folder.

    Attributes:
        pictures: The pictures with their paths below the folder without suffix, with forward slashes, in the
            order of the paths; two of one name follow each other. Letters with marks are composed: macOS
            takes them apart, so that one name is spelt in two ways where pictures and labels come from two
            systems.
        left_out: The other files by their paths, with the reasons.
    """

    pictures: list[tuple[str, Path]]
    left_out: list[Skipped]


def pictures_below(folder: Path) -> Folder:
    """Return the pictures below a folder."""
    pictures, left_out = [], []
    for file, why in files_below(folder):
        if why is None:
            within = file.relative_to(folder).with_suffix("").as_posix()
            pictures.append((unicodedata.normalize("NFC", within), file))
        else:
            left_out.append(Skipped(str(file), why))
    return Folder(sorted(pictures), left_out)


class Labels(NamedTuple):
    """The label images below a folder.

    Attributes:
        files: The PNGs, by their paths below the folder without suffix.
        others: The other pictures, in the same way; label values are not read from them.
        unused: Hidden files, and second ones of a name.
    """

    files: dict[str, Path]
    others: dict[str, Path]
    unused: list[Skipped]

    def left_out(self, names: set[str], images: Path) -> list[Skipped]:
        """Return the files that are unused, or belong to no image of ``names``."""
        why = f"a label without an image in {images}"
        both = sorted({**self.others, **self.files}.items())
        return [*self.unused, *(Skipped(str(file), why) for name, file in both if name not in names)]

    def place(self, folder: Path, name: str) -> Path:
        """Return the path of an image's labels, or the path where they belong."""
        return self.files.get(name) or folder / f"{name}{LABEL_SUFFIX}"


def labels_below(folder: Path) -> Labels:
    """Return the labels below a folder; none where there is no folder."""
    below = pictures_below(folder)
    hidden = [entry for entry in below.left_out if why_left_out(Path(entry.name).name.lstrip("._")) is None]
    found = Labels({}, {}, hidden)
    values_first = sorted(below.pictures, key=lambda picture: picture[1].suffix.lower() != LABEL_SUFFIX)
    for name, file in values_first:
        if (first := found.files.get(name) or found.others.get(name)) is not None:
            found.unused.append(Skipped(str(file), f"a second label beside {first.name}, which is taken"))
        else:
            (found.files if file.suffix.lower() == LABEL_SUFFIX else found.others)[name] = file
    return found


def folders_paired(images: Path, labels: Path) -> Split:
    """Pair every picture below one folder with the label of its name below another; list the other files."""
    found, known = pictures_below(images), labels_below(labels)
    pairs = [Pair(name, image, known.place(labels, name)) for name, image in found.pictures]
    left_out = [*found.left_out, *known.left_out({pair.name for pair in pairs}, images)]
    return Split(pairs, f"in {images}", images, left_out)
