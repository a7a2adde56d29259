"""The photographs of a folder, without the label images beside them, and the groups that they fall into."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from danet_calibration.errors import CalibrationSetError
from danet_runtime.pictures.decoding import PICTURE_SUFFIXES
from danet_train.data.datasets.folder import files_below
from danet_train.data.datasets.membership import (
    Membership,
    groups_of,
    label_endings,
    label_folders,
    training_split,
)
from danet_train.data.datasets.pairing import summed
from danet_train.data.samples.faults import Skipped

LEAST_SEQUENCE = 8
"""Least number of frames that share the beginning of their names to count as a sequence of their own. Fewer
may share it by chance (names that are hashes); they count to their folder."""

_NO_FILE = "no regular file, or a link that leads nowhere"
_FRAME_NUMBER = re.compile(r"[-_. ]*\d+\D*$")
"""The last number of a stem and what follows it: ``_006690`` of ``0001TP_006690``."""


@dataclass(frozen=True)
class Pictures:
    """The photographs of a folder and their groups.

    Attributes:
        folder: Folder that holds the photographs, itself or in subfolders.
        groups: The group of each photograph by its name, which is its path within ``folder`` with forward
            slashes. Sorted by name.
        left_out: Files that are neither photographs nor label images, each with the reason.
    """

    folder: Path
    groups: Mapping[str, str]
    left_out: tuple[Skipped, ...] = ()


def find_pictures(folder: Path) -> Pictures:
    """Return the photographs of a folder and the group of each.

    For a data set in a known layout these are the images of its training split alone; for any other folder
    all images in it and its subfolders except label images, which are recognised by the layouts' names of
    folders and files. The group is the layout's (a city of Cityscapes), else the subfolder and, inside one,
    the sequence: the part of the file's name before its last number, where at least ``LEAST_SEQUENCE`` files
    share it (``0001TP`` for CamVid's ``0001TP_006690.jpg``).

    Args:
        folder: A data set, a folder of one, or any folder, searched with its subfolders and what links lead
            to.

    Raises:
        CalibrationSetError: No folder, or no photographs in it.
        DataError: The training split cannot be read, or has no image.
    """
    if not folder.is_dir():
        came = "a file" if folder.is_file() else "none"
        raise CalibrationSetError(
            f"expected a folder of images at {folder}, found {came}; `ffmpeg -i VIDEO FOLDER/%06d.png` "
            "writes those of a video"
        )
    split = training_split(folder)
    root, found, left_out = _search(folder) if split is None else _of_split(folder, split)
    # Sorted as text, not as paths, whose order differs between systems.
    names = sorted(file.relative_to(root).as_posix() for file in found)
    return Pictures(root, _groups(root, names), tuple(left_out))


def _of_split(folder: Path, split: Membership) -> tuple[Path, list[Path], list[Skipped]]:
    """Return the folder of a training split's photographs below ``folder``, those, and what is left out."""
    images, above = split.found.images, folder.absolute()
    root = above if images in above.parents else images
    found, left_out = list[Path](), list[Skipped]()
    for pair in split.found.pairs:
        if root in pair.image.parents:
            if pair.image.is_file():
                found.append(pair.image)
            else:
                is_there = os.path.lexists(pair.image)
                left_out.append(Skipped(str(pair.image), _NO_FILE if is_there else "listed, but missing"))
    left_out += [entry for entry in split.found.left_out if root in Path(entry.name).parents]
    if not found:
        raise CalibrationSetError(
            f"none of the images {split.found.wanted} is there; give real frames of the camera "
            f"(left out {summed(left_out)})"
        )
    return root, found, sorted(left_out)


def _groups(root: Path, names: list[str]) -> dict[str, str]:
    known = dict(zip(names, groups_of([root / name for name in names]), strict=True))
    others = _sequences([name for name, group in known.items() if group is None])
    return {name: others[name] if group is None else group for name, group in known.items()}


def _sequences(names: list[str]) -> dict[str, str]:
    prefixes = {name: _FRAME_NUMBER.sub("", name.rpartition(".")[0]) for name in names}
    counts = Counter(prefixes.values())
    return {
        name: prefix if counts[prefix] >= LEAST_SEQUENCE else name.rpartition("/")[0]
        for name, prefix in prefixes.items()
    }


def _search(root: Path) -> tuple[Path, list[Path], list[Skipped]]:
    """Return ``root``, the photographs below it, and the other files; every folder is entered once."""
    found, labels, left_out = list[Path](), list[Path](), list[Skipped]()
    of_labels, endings = label_folders(), label_endings()
    for file, why in files_below(root):
        if why is None and not file.is_file():
            why = _NO_FILE
        if why is not None:
            left_out.append(Skipped(str(file), why))
            continue
        in_labels = not of_labels.isdisjoint((root.resolve().name, *file.relative_to(root).parts[:-1]))
        is_label = in_labels or (file.suffix.lower() == ".png" and file.stem.endswith(endings))
        (labels if is_label else found).append(file)
    if labels and not found:
        raise CalibrationSetError(
            f"{root} holds label images only ({len(labels)}, among them {min(labels)}); "
            "give the camera's frames that they belong to"
        )
    if not found:
        raise CalibrationSetError(
            f"{root} holds no images ({', '.join(PICTURE_SUFFIXES)}); give real frames of the camera"
            f"{f' (left out {summed(left_out)})' if left_out else ''}"
        )
    return root, found, sorted(left_out)
