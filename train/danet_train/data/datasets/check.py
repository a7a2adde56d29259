"""Check the pairs of a split: each is read whole, and every file that cannot be taken is named."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from danet_train.classes import IGNORE, find_classes
from danet_train.data.datasets.layout import Layout
from danet_train.data.datasets.pairing import paired
from danet_train.data.datasets.survey import require_learnable, require_one_turn, turn_of
from danet_train.data.samples.faults import FaultPolicy, Skipped
from danet_train.data.samples.sample import Dataset, fitted_label, read_image
from danet_train.data.samples.threads import in_threads
from danet_train.errors import DataError

SAMPLED: Final = 24
"""Number of pairs of a split that a training reads whole before it begins."""

_NAMED: Final = 5


@dataclass
class SplitCheck:
    """The content of a split, and what is bad about it.

    Attributes:
        split: Its name.
        dataset: Its pairs that have both files; None where there is none.
        checked: Number of pairs that were read.
        pixels: (C,) labelled pixels of each class.
        pictures: (C,) pictures that hold each class.
        ignored: Number of ignored pixels.
        sizes: Number of pictures by upright (height, width).
        turns: Number of pictures that EXIF turns, by how their labels lie (``upright``, ``stored``,
            ``unclear``).
        bad: What cannot be taken, each with its reason, which names the file.
        notes: What is there besides, in sentences.
    """

    split: str
    dataset: Dataset | None
    checked: int = 0
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pictures: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    bad: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def absent(self) -> list[str]:
        """The classes that no label of the split holds."""
        if self.dataset is None:
            return []
        names = self.dataset.classes.names
        return [name for name, count in zip(names, self.pixels, strict=True) if not count]


class _Pair(NamedTuple):
    """A pair that was read."""

    counts: npt.NDArray[np.int64]  # (256,) pixels by train id
    size_hw: tuple[int, int]
    turn: str


def open_split(layout: Layout, root: Path, split: str, classes: str | Path | None) -> SplitCheck:
    """Find the pairs of a split; what is missing is bad, unless no picture of a further split has labels.

    Args:
        layout: Layout of the data set.
        root: The folder that it located.
        split: Name of the split.
        classes: Class table, see :func:`danet_train.data.datasets.layouts.open_dataset`.

    Raises:
        NoDatasetError: There is no such split.
        ConfigError: The class table cannot be read.
    """
    table = layout.own_classes(root, split) if classes is None else find_classes(classes)
    found = layout.find_split(root, split)
    is_needed = split in (*layout.learning, "val")
    if found.pairs and not is_needed and not any(pair.label.is_file() for pair in found.pairs):
        return SplitCheck(split, None, notes=[f"none of its {len(found.pairs)} pictures has labels"])
    try:
        dataset = paired(found, table, "skip")
    except DataError as error:
        return SplitCheck(split, None, bad=[Skipped(split, str(error))])
    return SplitCheck(split, dataset, bad=list(dataset.skipped))


def check_pairs(
    check: SplitCheck, indices: Sequence[int] | None = None, advance: Callable[[], None] = lambda: None
) -> None:
    """Read pairs whole, and add to a check what they hold.

    Args:
        check: The check of their split; changed.
        indices: The pairs to read; None for all.
        advance: Called after each.
    """
    dataset = check.dataset
    if dataset is None:
        return
    chosen = range(len(dataset)) if indices is None else indices
    check.pixels = np.zeros(len(dataset.classes), np.int64)
    check.pictures = np.zeros(len(dataset.classes), np.int64)
    firsts: dict[str, str] = {}
    for index, read in zip(chosen, in_threads(lambda index: _read(dataset, index), chosen), strict=True):
        advance()
        check.checked += 1
        if isinstance(read, Skipped):
            check.bad.append(read)
            continue
        own = read.counts[: len(dataset.classes)]
        check.pixels += own
        check.pictures += own > 0
        check.ignored += int(read.counts[IGNORE])
        check.sizes[read.size_hw] += 1
        if read.turn:
            check.turns[read.turn] += 1
            firsts.setdefault(read.turn, str(dataset.pairs[index].image))
    if indices is None and check.sizes:
        check.bad += _bad_as_a_whole(check, dataset, firsts)


def require_sound_sample(dataset: Dataset, split: str, policy: FaultPolicy) -> str | None:
    """Read a sample of the pairs whole before a training, some seconds at most.

    Args:
        dataset: The split.
        split: Its name.
        policy: ``skip`` lets it pass.

    Returns:
        What is bad, in a sentence, under ``skip``; None where nothing is.

    Raises:
        DataError: A pair is bad, under ``stop``.
    """
    check = SplitCheck(split, dataset)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(SAMPLED, len(dataset))).astype(int))
    check_pairs(check, chosen.tolist())
    if not check.bad:
        return None
    first = check.bad[0].why
    if len(check.bad) == 1:
        words = first
    else:
        rest = "; ".join(bad.why for bad in check.bad[1:_NAMED])
        more = f"; and {len(check.bad) - _NAMED} more" if len(check.bad) > _NAMED else ""
        words = (
            f"{first}; {rest}{more} ({len(check.bad)} of {check.checked} pairs of {split} that were tried; "
            "danet data check lists all)"
        )
    if policy == "stop":
        raise DataError(words)
    return f"{split}: {words}"


def shared_pictures(checks: Iterable[SplitCheck]) -> list[str]:
    """Return a sentence for each two splits that hold the same picture in two files.

    The same file in two splits is no matter: lists of names such as VOC's overlap.
    """
    by_size: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for check in checks:
        for pair in () if check.dataset is None else check.dataset.pairs:
            by_size[pair.image.stat().st_size].append((check.split, pair.image))
    found: dict[tuple[str, str], list[tuple[Path, Path]]] = defaultdict(list)
    for alike in by_size.values():
        if len({split for split, _ in alike}) < 2:
            continue
        by_content: dict[bytes, tuple[str, Path]] = {}
        for split, path in alike:
            first = by_content.setdefault(hashlib.sha256(path.read_bytes()).digest(), (split, path))
            if first[0] != split and first[1] != path:
                found[first[0], split].append((first[1], path))
    return [
        f"{len(paths)} pictures of {other} are in {one} too; the first is {paths[0][1]}, as {paths[0][0]}: a "
        "score on what was learnt from tells nothing"
        for (one, other), paths in sorted(found.items())
    ]


def _bad_as_a_whole(check: SplitCheck, dataset: Dataset, firsts: dict[str, str]) -> list[Skipped]:
    bad = []
    try:
        require_learnable(dataset, check.split, check.pixels)
    except DataError as error:
        bad.append(Skipped(check.split, str(error)))
    try:
        require_one_turn(check.split, firsts)
    except DataError as error:
        bad.append(Skipped(check.split, str(error)))
    return bad


def _read(dataset: Dataset, index: int) -> _Pair | Skipped:
    pair = dataset.pairs[index]
    try:
        image = read_image(pair.image)
        stored = dataset.labels[index]
        size_hw = (image.shape[0], image.shape[1])
        label = fitted_label(stored, pair.image, size_hw, pair.label)
    except DataError as error:
        return Skipped(pair.name, str(error))
    counts = np.bincount(label.ravel(), minlength=256)
    return _Pair(counts, size_hw, turn_of(pair.image, stored.shape))
