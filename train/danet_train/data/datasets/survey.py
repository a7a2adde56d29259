"""What the labels of a split hold, found out before the first step: is there anything to learn or score."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from danet_train.data.datasets.pairing import summed
from danet_train.data.samples.faults import FaultPolicy, Skipped, none_readable, read_sample
from danet_train.data.samples.orientation import QUARTER_TURNS, stored
from danet_train.data.samples.sample import Dataset, Labels
from danet_train.errors import DataError

_THREADS: Final = 8
_NAMED: Final = 5
_LEAST_CLASSES: Final = 2


class Survey(NamedTuple):
    """What a split holds.

    Attributes:
        pixels: (C,) int64, labelled pixels of each class.
        turned: Pictures that EXIF turns.
        turned_labels: Of them, those whose labels lie as the picture is stored, and are turned with it.
    """

    pixels: npt.NDArray[np.int64]
    turned: int
    turned_labels: int


class _Look(NamedTuple):
    pixels: npt.NDArray[np.int64]
    turn: str


def survey(dataset: Dataset, split: str, policy: FaultPolicy = "stop") -> Survey:
    """Read every label of a split once, and refuse one of which nothing can be learned or told.

    A loss over no labelled pixel is no number, and neither is a mean IoU. Where the labels hold one class
    alone, a network that calls everything so scores 100.

    Args:
        dataset: The split.
        split: Its name, for errors.
        policy: ``skip`` passes over labels that cannot be read.

    Raises:
        DataError: A label cannot be read under ``stop``, or none can; no pixel is labelled; all are of one
            class; or labels of turned pictures lie as stored, and of others it cannot be told if they do.
    """
    pixels = np.zeros(len(dataset.classes), np.int64)
    turns: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    unreadable: list[Skipped] = []
    for pair, look in zip(dataset.pairs, _looks(dataset, policy), strict=True):
        if isinstance(look, Skipped):
            unreadable.append(look)
            continue
        pixels += look.pixels
        turns[look.turn] += 1
        firsts.setdefault(look.turn, str(pair.image))
    if unreadable and len(unreadable) == len(dataset):
        raise none_readable(len(dataset), unreadable[0])
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
    if turns["stored"] and turns["unclear"]:
        raise DataError(
            f"{split}: EXIF turns {firsts['stored']}, and its labels lie as it is stored; it turns "
            f"{firsts['unclear']} too, and by their size its labels may lie either way. Turn the pixels of "
            "these pictures and remove the EXIF orientation"
        )
    return Survey(pixels, turns.total() - turns[""], turns["stored"])


def survey_lines(dataset: Dataset, split: str, found: Survey) -> list[str]:
    """What a split leaves out or lacks, a sentence each; nothing where there is nothing to say."""
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


def _looks(dataset: Dataset, policy: FaultPolicy) -> Iterator[_Look | Skipped]:
    labels = dataset.labels

    def look(index: int) -> _Look | Skipped:
        return _look(dataset, labels, index, policy)

    threads = min(_THREADS, os.cpu_count() or 1)
    # A label of 1024x2048 takes some 10 ms, in which zlib and OpenCV let other threads run.
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(dataset), 64 * threads):  # so that an error ends it soon
            yield from pool.map(look, range(first, min(first + 64 * threads, len(dataset))))


def _look(dataset: Dataset, labels: Labels, index: int, policy: FaultPolicy) -> _Look | Skipped:
    label = read_sample(labels, index, policy)
    if isinstance(label, Skipped):
        return label
    pixels = np.bincount(label.ravel(), minlength=256)[: len(dataset.classes)]
    return _Look(pixels, _turn(dataset, index, label.shape))


def _turn(dataset: Dataset, index: int, label_hw: tuple[int, ...]) -> str:
    """How EXIF turns a picture: not (empty), with labels that are ``upright``, ``stored``, or ``unclear``."""
    lies = stored(dataset.pairs[index].image)
    if lies is None or lies.orientation == 1:
        return ""
    if lies.is_ambiguous:
        return "unclear"
    is_stored = lies.orientation in QUARTER_TURNS and (lies.height, lies.width) == label_hw
    return "stored" if is_stored else "upright"
