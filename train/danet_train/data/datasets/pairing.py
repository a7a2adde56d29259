"""Make a dataset of the images of a split: each needs its labels, and a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from danet_train.classes import ClassTable
from danet_train.data.datasets.layout import Split
from danet_train.data.samples.faults import FaultPolicy, Skipped
from danet_train.data.samples.sample import Dataset
from danet_train.errors import DataError
from danet_train.pictures.decoding import PICTURE_SUFFIXES

_WAYS_ON: Final = "; put what is missing there (danet train and eval go on without it by --bad-samples skip)"


def paired(split: Split, classes: ClassTable, policy: FaultPolicy) -> Dataset:
    """Return the dataset of the pairs whose files exist.

    Args:
        split: The split that a layout found.
        classes: The class table of the labels.
        policy: ``skip`` leaves out an image without labels, and lists it in the dataset's ``skipped``.

    Raises:
        DataError: There is no image, none with labels, one without under ``stop``, or two of one name.
    """
    require_images(split)
    count = len(split.pairs)
    absent = [pair for pair in split.pairs if not pair.image.is_file()]
    if absent and policy == "stop":
        raise DataError(
            f"{len(absent)} of the {count} images {split.wanted} are missing; {absent[0].image} is{_WAYS_ON}"
        )
    unlabelled = [pair for pair in split.pairs if not pair.label.is_file()]
    if unlabelled and (policy == "stop" or len(unlabelled) == count):
        first = unlabelled[0]
        raise DataError(
            f"{len(unlabelled)} of {count} images have no labels; {first.image} needs {first.label}"
            f"{_labels_beside(first.label)}{_WAYS_ON if len(unlabelled) < count else ''}"
        )
    name, times = Counter(pair.name for pair in split.pairs).most_common(1)[0]
    if times > 1:
        raise DataError(f"two images share the name {name!r} and so its labels; rename one of them")
    reasons = {pair: f"{pair.image} has no labels; it needs {pair.label}" for pair in unlabelled}
    reasons.update({pair: f"{pair.image} is listed, but missing" for pair in absent})
    pairs = [pair for pair in split.pairs if pair not in reasons]
    if not pairs:
        raise DataError(f"none of the {count} images {split.wanted} is there with its labels")
    skipped = [Skipped(pair.name, reasons[pair]) for pair in split.pairs if pair in reasons]
    return Dataset(pairs, classes, skipped, split.left_out)


def require_images(split: Split) -> None:
    """Refuse a split that has no image.

    Raises:
        DataError: It has none.
    """
    if not split.pairs:
        others = f"; left out {summed(split.left_out)}" if split.left_out else ""
        raise DataError(f"there is no image {split.wanted}{others}")


def summed(left_out: Sequence[Skipped]) -> str:
    """Return how many files are left out and the first for each reason, in words."""
    reasons = Counter(entry.why for entry in left_out)
    firsts = {entry.why: entry.name for entry in reversed(left_out)}
    parts = [
        f"{firsts[why]}{f' and {count - 1} more' if count > 1 else ''}: {why}"
        for why, count in reasons.items()
    ]
    return f"{len(left_out)} {'file' if len(left_out) == 1 else 'files'}: {'; '.join(parts)}"


def _labels_beside(label: Path) -> str:
    """Return a note about a file of a label's name in another format; empty where there is none."""
    others = [label.with_suffix(suffix) for suffix in PICTURE_SUFFIXES if suffix != label.suffix]
    found = next((other for other in others if other.is_file()), None)
    return f" ({found.name} is there, but label values are read from a PNG alone)" if found else ""
