"""Count the labels of a split before the first step, to find out whether it can be learned and scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from danet_train.data.datasets.pairing import summed
from danet_train.data.samples.faults import FaultPolicy, Skipped, none_readable, read_sample
from danet_train.data.samples.orientation import QUARTER_TURNS, stored
from danet_train.data.samples.sample import Dataset, Labels
from danet_train.data.samples.threads import in_threads
from danet_train.errors import DataError

_NAMED: Final = 5
_LEAST_CLASSES: Final = 2


class Survey(NamedTuple):
    """The content of a split.

    Attributes:
        pixels: (C,) int64, labelled pixels of each class.
        turned: Number of pictures that EXIF turns.
        turned_labels: Number of them whose labels lie as the picture is stored, and are turned with it.
    """

    pixels: npt.NDArray[np.int64]
    turned: int
    turned_labels: int


class _LabelCounts(NamedTuple):
    pixels: npt.NDArray[np.int64]
    turn: str


def survey(dataset: Dataset, split: str, policy: FaultPolicy = "stop") -> Survey:
    """Read every label of a split once, and refuse one that cannot be learned from or scored on.

    A loss over no labelled pixel is no number, and neither is a mean IoU. Where the labels hold one class
    alone, a network that calls everything so scores 100.

    Args:
        dataset: The split.
        split: Its name, for errors.
        policy: ``skip`` passes over labels that cannot be read.

    Raises:
        DataError: A label cannot be read under ``stop``, or none can; no pixel is labelled; all are of one
            class; or labels of some turned pictures lie as stored, and those of others may lie either way.
    """
    pixels = np.zeros(len(dataset.classes), np.int64)
    turns: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    unreadable: list[Skipped] = []
    for pair, counts in zip(dataset.pairs, _count_all(dataset, policy), strict=True):
        if isinstance(counts, Skipped):
            unreadable.append(counts)
            continue
        pixels += counts.pixels
        turns[counts.turn] += 1
        firsts.setdefault(counts.turn, str(pair.image))
    if unreadable and len(unreadable) == len(dataset):
        raise none_readable(len(dataset), unreadable[0])
    require_learnable(dataset, split, pixels)
    require_one_turn(split, firsts)
    return Survey(pixels, turns.total() - turns[""], turns["stored"])


def require_learnable(dataset: Dataset, split: str, pixels: npt.NDArray[np.int64]) -> None:
    """Refuse labels of no class, or of one alone.

    Args:
        dataset: The split.
        split: Its name, for the error.
        pixels: (C,) labelled pixels of each class.

    Raises:
        DataError: Nothing can be learned from them or scored on them.
    """
    if not pixels.any():
        raise DataError(
            f"{split}: the labels of all {len(dataset)} images are ignored everywhere (255, or what the "
            f"class table ignores); expected pixels of its {len(pixels)} classes: there is nothing to learn "
            "or score"
        )
    if np.count_nonzero(pixels) < _LEAST_CLASSES:
        raise DataError(
            f"{split}: every labelled pixel is {dataset.classes.names[int(pixels.argmax())]!r}; expected at "
            f"least {_LEAST_CLASSES} of the {len(pixels)} classes: a network that calls everything so is "
            "right, and a mean IoU tells nothing"
        )


def require_one_turn(split: str, firsts: Mapping[str, str]) -> None:
    """Refuse turned pictures of which the labels of some lie as stored, and those of others either way.

    Args:
        split: Name of the split, for the error.
        firsts: The first picture by how its labels lie, as :func:`turn_of` says it.

    Raises:
        DataError: It is so.
    """
    if "stored" in firsts and "unclear" in firsts:
        raise DataError(
            f"{split}: EXIF turns {firsts['stored']}, and its labels lie as it is stored; it turns "
            f"{firsts['unclear']} too, and by their size its labels may lie either way. Turn the pixels of "
            "these pictures and remove the EXIF orientation"
        )


def survey_lines(dataset: Dataset, split: str, found: Survey) -> list[str]:
    """Return what a split leaves out or lacks, one sentence each."""
    lines = []
    if dataset.left_out:
        lines.append(f"{split}: left out {summed(dataset.left_out)}")
    absent = [name for name, count in zip(dataset.classes.names, found.pixels, strict=True) if not count]
    if absent:
        names = ", ".join(absent[:_NAMED]) + (", ..." if len(absent) > _NAMED else "")
        lines.append(
            f"{split}: no label holds {len(absent)} of the {len(dataset.classes)} classes: {names}; they are "
            "neither learned nor scored here"
        )
    if found.turned:
        lines.append(
            f"{split}: EXIF turns {found.turned} of {len(dataset)} pictures upright; the labels of "
            f"{found.turned_labels} are turned with them, the others count as upright"
        )
    return lines


def _count_all(dataset: Dataset, policy: FaultPolicy) -> Iterator[_LabelCounts | Skipped]:
    labels = dataset.labels

    def count(index: int) -> _LabelCounts | Skipped:
        return _count(dataset, labels, index, policy)

    # A label of 1024x2048 takes some 10 ms.
    return in_threads(count, range(len(dataset)))


def _count(dataset: Dataset, labels: Labels, index: int, policy: FaultPolicy) -> _LabelCounts | Skipped:
    label = read_sample(labels, index, policy)
    if isinstance(label, Skipped):
        return label
    pixels = np.bincount(label.ravel(), minlength=256)[: len(dataset.classes)]
    return _LabelCounts(pixels, turn_of(dataset.pairs[index].image, label.shape))


def turn_of(picture: Path, label_hw: tuple[int, ...]) -> str:
    """Return how the labels of a turned picture lie: ``upright``, ``stored`` or ``unclear``; else empty.

    Args:
        picture: File of the picture.
        label_hw: Size of its labels as their file has them.
    """
    lies = stored(picture)
    if lies is None or lies.orientation == 1:
        return ""
    if lies.is_ambiguous:
        return "unclear"
    is_stored = lies.orientation in QUARTER_TURNS and (lies.height, lies.width) == label_hw
    return "stored" if is_stored else "upright"
