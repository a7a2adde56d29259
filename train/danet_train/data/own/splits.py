"""Divide pictures into splits so that the frames of one drive stay together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final, Literal, NamedTuple

import numpy as np

from danet_train.errors import UsageError

SplitBy = Literal["auto", "folders", "sequences", "random"]

_NUMBERED: Final = re.compile(r"(.*?)[-_. ]*\d+")
_DRAWS: Final = 64


class Frame(NamedTuple):
    """The part of a pair that dividing needs.

    Attributes:
        name: Name in the new data set.
        split: The split that its folders name, or None.
        classes: The classes that its mask holds.
    """

    name: str
    split: str | None
    classes: frozenset[int]


class Division(NamedTuple):
    """The splits.

    Attributes:
        split_of: The split of each frame, in their order.
        way: How they were divided, in words.
        sequences: Number of sequences in each split; empty where none are told apart.
    """

    split_of: list[str]
    way: str
    sequences: dict[str, int]


def divide(frames: Sequence[Frame], by: SplitBy, val_share: float, seed: int) -> Division:
    """Divide frames into ``train`` and ``val``; those whose folders say ``test`` stay ``test``.

    ``auto`` takes the splits that folders name. Without them it keeps sequences together: frames of one
    folder, or of one name before the number (``drive2_000123``). A single numbered sequence gives its first
    or last part. Otherwise frames are drawn one by one. Of several seeded draws the one is taken whose
    splits hold most of the classes.

    Args:
        frames: The frames, in the order of their names.
        by: The way; one other than ``auto`` is an error where it cannot be.
        val_share: Share of the frames to score on, 0 to 1.
        seed: Seed of the draws.

    Raises:
        UsageError: There are fewer than 2 frames to divide, or not the folders or sequences asked for.
    """
    given = [frame.split for frame in frames]
    if by in ("auto", "folders") and {"train", "val"} <= set(given) and None not in given:
        return Division([split or "" for split in given], "as the folders say", {})
    if by == "folders":
        raise UsageError(
            "not every pair lies in a folder that names its split (train, val or test), or one of train and "
            "val has none; leave --split-by folders out"
        )
    free = [index for index, split in enumerate(given) if split != "test"]
    if len(free) < 2:
        raise UsageError(f"expected at least 2 pairs to divide into train and val, got {len(free)}")
    in_val, way, groups = _drawn([frames[index] for index in free], by, val_share, seed)
    split_of = ["test"] * len(frames)
    for index, is_val in zip(free, in_val, strict=True):
        split_of[index] = "val" if is_val else "train"
    sequences: dict[str, int] = {}
    if groups is not None:
        pairs = {(split_of[index], group) for index, group in zip(free, groups, strict=True)}
        for split, _ in sorted(pairs):
            sequences[split] = sequences.get(split, 0) + 1
    return Division(split_of, way, sequences)


def sequences_of(names: Sequence[str]) -> list[str]:
    """Return the sequence of each name: its folder where there are several, else its part before a number."""
    folders = [str(PurePosixPath(name).parent) for name in names]
    if len(set(folders)) > 1:
        return folders
    stems = [PurePosixPath(name).name for name in names]
    return [match[1] if (match := _NUMBERED.fullmatch(stem)) is not None else stem for stem in stems]


def _drawn(
    frames: list[Frame], by: SplitBy, share: float, seed: int
) -> tuple[list[bool], str, list[str] | None]:
    """Return which frames go to val, how in words, and the sequence of each where they are told apart."""
    groups = sequences_of([frame.name for frame in frames])
    count = len(set(groups))
    rng = np.random.default_rng(seed)
    if by != "random" and 1 < count < len(frames):
        in_val = _best(frames, lambda draw: _by_groups(groups, share, rng), share)
        return in_val, f"by sequence, {count} of them, seed {seed}", groups
    if by == "auto" and count == 1:
        in_val = _best(frames, lambda draw: _one_end(len(frames), share, is_last=draw % 2 == 0), share)
        end = "last" if in_val[-1] else "first"
        return in_val, f"one sequence by its numbers: val is its {end} part", None
    if by == "sequences":
        raise UsageError(
            "the names tell no sequences apart: expected a folder for each, or names such as "
            "drive2_000123; take --split-by random"
        )
    return (
        _best(frames, lambda draw: _one_by_one(len(frames), share, rng), share),
        f"at random, seed {seed}",
        None,
    )


def _best(frames: list[Frame], drawn: Callable[[int], list[bool]], share: float) -> list[bool]:
    """Return the draw whose splits lack the fewest classes, and of those the one nearest to the share."""
    everything = _classes_in(frames)

    def lack(in_val: list[bool]) -> tuple[int, float]:
        learnt = _classes_in(frame for frame, is_val in zip(frames, in_val, strict=True) if not is_val)
        scored = _classes_in(frame for frame, is_val in zip(frames, in_val, strict=True) if is_val)
        return len(everything - learnt) + len(everything - scored), abs(sum(in_val) / len(in_val) - share)

    draws = [drawn(index) for index in range(_DRAWS)]
    return min(draws, key=lack)


def _classes_in(frames: Iterable[Frame]) -> frozenset[int]:
    return frozenset[int]().union(*(frame.classes for frame in frames))


def _by_groups(groups: list[str], share: float, rng: np.random.Generator) -> list[bool]:
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    order = [str(group) for group in rng.permutation(sorted(sizes))]
    chosen: set[str] = set()
    filled = 0
    for group in order[:-1]:  # one stays to learn from
        if chosen and abs(filled + sizes[group] - share * len(groups)) > abs(filled - share * len(groups)):
            break
        chosen.add(group)
        filled += sizes[group]
    return [group in chosen for group in groups]


def _one_end(count: int, share: float, *, is_last: bool) -> list[bool]:
    size = _size(count, share)
    return [index >= count - size if is_last else index < size for index in range(count)]


def _one_by_one(count: int, share: float, rng: np.random.Generator) -> list[bool]:
    chosen = set(rng.permutation(count)[: _size(count, share)].tolist())
    return [index in chosen for index in range(count)]


def _size(count: int, share: float) -> int:
    return min(count - 1, max(1, round(share * count)))
