"""The photographs of a folder, without the label images beside them, and the groups that they fall into."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from danet_calibration.errors import CalibrationSetError
from danet_runtime.pictures.decoding import PICTURE_SUFFIXES
from danet_train.data.datasets.folder import files_below
from danet_train.data.datasets.pairing import summed
from danet_train.data.samples.faults import Skipped

LEAST_SEQUENCE = 8
"""So many frames must share the beginning of their names to count as a sequence of their own; below it the
beginning is taken for chance (names that are hashes) and the frames count to their folder."""

# Where the images of a labelled data set are; the training images first, since the others measure accuracy.
_DATASET_FOLDERS = ("leftImg8bit/train", "leftImg8bit", "train/images", "images", "val/images")

_LABEL_FOLDERS = frozenset({"labels", "gtFine", "gtCoarse"})
_LABEL_STEMS = ("_labelIds", "_labelTrainIds", "_instanceIds", "_color")

_CITYSCAPES = "leftImg8bit"
_FRAME_NUMBER = re.compile(r"[-_. ]*\d+\D*$")
"""The last number of a stem and what follows it: ``_006690`` of ``0001TP_006690``."""


@dataclass(frozen=True)
class Pictures:
    """What a folder holds.

    Attributes:
        folder: Where the photographs lie, itself or below it.
        groups: The group of each photograph by its name, which is its path within ``folder`` with forward
            slashes. Sorted by name.
        left_out: Files that are neither photographs nor label images, and why.
    """

    folder: Path
    groups: Mapping[str, str]
    left_out: tuple[Skipped, ...] = ()


def find_pictures(folder: Path) -> Pictures:
    """The photographs of a folder and the group of each.

    In Cityscapes' layout the group is the city. In any other folder it is the subfolder and, inside one, the
    sequence: what the file's name begins with before its last number, where at least ``LEAST_SEQUENCE``
    files share it (``0001TP`` for CamVid's ``0001TP_006690.jpg``).

    Args:
        folder: In Cityscapes' layout (its train split is taken), a data set with ``images/``, or any folder,
            searched with its subfolders and what links lead to; label images are left out by their names.

    Raises:
        CalibrationSetError: No folder, or no photographs in it.
    """
    if not folder.is_dir():
        raise CalibrationSetError(f"expected a folder of images at {folder}, found none")
    root = next((folder / name for name in _DATASET_FOLDERS if (folder / name).is_dir()), folder)
    found, labels, left_out = _search(root)
    if labels and not found:
        raise CalibrationSetError(
            f"{root} holds label images only ({len(labels)}, among them {labels[0]}); "
            "give the camera's frames that they belong to"
        )
    if not found:
        raise CalibrationSetError(
            f"{root} holds no images ({', '.join(PICTURE_SUFFIXES)}); give real frames of the camera"
            f"{f' (left out {summed(left_out)})' if left_out else ''}"
        )
    # Sorted as text, not as paths, whose order differs between systems.
    names = sorted(file.relative_to(root).as_posix() for file in found)
    is_cityscapes = _CITYSCAPES in (root.name, root.parent.name)
    return Pictures(root, _cities(names) if is_cityscapes else _sequences(names), tuple(left_out))


def _cities(names: list[str]) -> dict[str, str]:
    return {name: name.rpartition("/")[0] for name in names}


def _sequences(names: list[str]) -> dict[str, str]:
    prefixes = {name: _FRAME_NUMBER.sub("", name.rpartition(".")[0]) for name in names}
    counts = Counter(prefixes.values())
    return {
        name: prefix if counts[prefix] >= LEAST_SEQUENCE else name.rpartition("/")[0]
        for name, prefix in prefixes.items()
    }


def _search(root: Path) -> tuple[list[Path], list[Path], list[Skipped]]:
    """The photographs, the label images and the other files below ``root``; every folder is entered once."""
    found: list[Path] = []
    labels: list[Path] = []
    left_out: list[Skipped] = []
    for file, why in files_below(root):
        if why is None and not file.is_file():
            why = "no regular file, or a link that leads nowhere"
        if why is not None:
            left_out.append(Skipped(str(file), why))
            continue
        in_labels = not _LABEL_FOLDERS.isdisjoint((root.resolve().name, *file.relative_to(root).parts[:-1]))
        is_label = in_labels or (file.suffix.lower() == ".png" and file.stem.endswith(_LABEL_STEMS))
        (labels if is_label else found).append(file)
    return found, sorted(labels), sorted(left_out)
