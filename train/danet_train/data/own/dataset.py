"""Make a data set that training reads of pictures and masks as they come; the originals are only read."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image

from danet_train.classes import ClassTable
from danet_train.classes.class_file import classes_text
from danet_train.data.own.census import Count, count_codes, summed_counts
from danet_train.data.own.discovery import OwnPair
from danet_train.data.own.masks import MaskKind, read_mask
from danet_train.data.own.names import NamedClasses
from danet_train.data.own.proposal import Proposal, Wishes, plain_codes, propose
from danet_train.data.own.splits import Division
from danet_train.data.samples.faults import Skipped
from danet_train.data.samples.orientation import QUARTER_TURNS, stored
from danet_train.data.samples.sample import read_checked
from danet_train.data.samples.threads import in_threads
from danet_train.errors import DataError, UsageError
from danet_train.files.atomic import new_folder
from danet_train.files.replaceable import check_replaceable, write_marker

MARKER: Final = "dataset.json"
_FORMAT: Final = "danet-dataset"
_CLASSES: Final = "classes.yaml"
_CONTENT: Final = frozenset({"train", "val", "test", _CLASSES, MARKER})
_VOID_COLOR: Final = (0, 0, 0)


class Counted(NamedTuple):
    """A pair whose files can be read, and the codes of its mask."""

    pair: OwnPair
    kind: MaskKind
    codes: dict[int, Count]


class Census(NamedTuple):
    """All pairs: those that can be taken, and why the others cannot."""

    counted: list[Counted]
    bad: list[Skipped]


@dataclass(frozen=True)
class Target:
    """The data set to make.

    Attributes:
        out: The folder to make.
        source: The folder that the pairs are from.
        is_linked: Whether pictures are hard links of the originals, not copies.
        overwrite: Whether a data set that this command made may be replaced.
    """

    out: Path
    source: Path
    is_linked: bool = False
    overwrite: bool = False


def take_census(pairs: Sequence[OwnPair], advance: Callable[[], None] = lambda: None) -> Census:
    """Read each mask, and of each picture what it states, and collect every file that cannot be taken.

    Args:
        pairs: The pairs.
        advance: Called after each.
    """
    census = Census([], [])
    for pair, counted in zip(pairs, in_threads(_counted, pairs), strict=True):
        if isinstance(counted, Skipped):
            census.bad.append(counted)
        else:
            census.counted.append(Counted(pair, *counted))
        advance()
    kinds = Counter(one.kind for one in census.counted)
    if len(kinds) > 1:
        firsts = {one.kind: one.pair.mask for one in reversed(census.counted)}
        usual = kinds.most_common(1)[0][0]
        census.bad.extend(
            Skipped(
                str(one.pair.mask), f"a {one.kind} mask, where {firsts[usual]} is {usual}; export all alike"
            )
            for one in census.counted
            if one.kind != usual
        )
        census.counted[:] = [one for one in census.counted if one.kind == usual]
    return census


def propose_for(census: Census, wishes: Wishes, listed: NamedClasses | None) -> Proposal:
    """Propose classes for all pairs that can be taken.

    Raises:
        DataError: There is none, or see :func:`danet_train.data.own.proposal.propose`.
        UsageError: See there.
    """
    if not census.counted:
        raise DataError("no pair can be taken; mend the files that are listed")
    counts = summed_counts(one.codes for one in census.counted)
    return propose(census.counted[0].kind, counts, wishes, listed)


def classes_of(counted: Counted, proposal: Proposal) -> frozenset[int]:
    """Return the classes that a mask holds."""
    codes = np.array(list(counted.codes), np.uint32)
    plain = set(plain_codes(codes, proposal.kind, proposal.encoding).tolist())
    return frozenset(index for index, code in enumerate(proposal.codes) if code in plain)


def check_target(target: Target) -> None:
    """Find out before long work that the data set cannot be made there.

    Raises:
        UsageError: It lies in the originals, or around them, or may not be replaced.
    """
    out, source = target.out.resolve(), target.source.resolve()
    if out == source or out in source.parents or source in out.parents:
        raise UsageError(
            f"{target.out} and {target.source} lie in each other; the originals are left as they are: give a "
            "folder beside them"
        )
    if os.path.lexists(target.out) and not target.overwrite:
        raise UsageError(f"{target.out} exists already; give another path, or --overwrite to replace it")
    if target.overwrite and target.out.is_dir():
        check_replaceable(target.out, MARKER, _FORMAT, _CONTENT)


def write_dataset(
    target: Target,
    pairs: Sequence[OwnPair],
    proposal: Proposal,
    division: Division,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write pictures, labels and class table as a plain folder, whole or not at all.

    Labels are palette PNGs: their indices are the classes, 255 none; viewers show the classes' colors.

    Args:
        target: Where to.
        pairs: The pairs.
        proposal: The classes.
        division: The split of each pair.
        advance: Called after each pair.

    Raises:
        UsageError: See :func:`check_target`, or pictures cannot be linked there.
        DataError: A file cannot be read any more.
    """
    check_target(target)
    with new_folder(target.out, overwrite=target.overwrite) as folder:
        palette = _palette(proposal.table)
        jobs = list(zip(pairs, division.split_of, strict=True))
        for pair, split in jobs:
            for kind in ("images", "labels"):
                (folder / split / kind / pair.name).parent.mkdir(parents=True, exist_ok=True)

        def write(job: tuple[OwnPair, str]) -> None:
            pair, split = job
            labels = proposal.encode(read_mask(pair.mask).codes, str(pair.mask))
            _write_label(folder / split / "labels" / f"{pair.name}.png", labels, palette)
            image = folder / split / "images" / f"{pair.name}{pair.image.suffix}"
            _put(pair.image, image, is_linked=target.is_linked)

        for _ in in_threads(write, jobs):
            advance()
        heading = f"Proposed by danet data init from {len(pairs)} masks; names and colors may be changed."
        (folder / _CLASSES).write_text(classes_text(proposal.table, heading), encoding="utf-8")
        content = {
            "source": str(target.source),
            "masks": proposal.kind,
            "encoding": proposal.encoding,
            "codes": list(proposal.codes),
            "void": {str(code): why for code, why in proposal.void.items()},
            "divided": division.way,
            "splits": dict(Counter(division.split_of)),
        }
        write_marker(folder / MARKER, _FORMAT, content)


def _counted(pair: OwnPair) -> tuple[MaskKind, dict[int, Count]] | Skipped:
    try:
        data, header = read_checked(pair.image)
        mask = read_mask(pair.mask)
        codes = count_codes(mask.codes, str(pair.mask))
    except DataError as error:
        return Skipped(pair.name, str(error))
    lies = stored(data)
    as_stored = (header.height, header.width)
    is_turned = lies is not None and lies.orientation in QUARTER_TURNS
    upright = as_stored[::-1] if is_turned else as_stored
    height, width = mask.codes.shape
    if (height, width) not in (upright, as_stored):
        return Skipped(
            pair.name,
            f"{pair.image} is {upright[1]}x{upright[0]}, but {pair.mask} is {width}x{height}; an image "
            "and its mask must have the same size",
        )
    return mask.kind, codes


def _palette(table: ClassTable) -> list[int]:
    colors = [*table.colors, *[_VOID_COLOR] * (256 - len(table))]
    return [channel for color in colors for channel in color]


def _write_label(path: Path, labels: npt.NDArray[np.uint8], palette: list[int]) -> None:
    picture = PIL.Image.fromarray(labels)
    picture.putpalette(palette)
    picture.save(path, format="PNG")


def _put(image: Path, place: Path, *, is_linked: bool) -> None:
    if not is_linked:
        shutil.copyfile(image, place)
        return
    try:
        os.link(image.resolve(), place)
    except OSError as error:
        raise UsageError(
            f"{image} cannot be linked from another folder ({error.strerror}); leave --hard-link out to copy"
        ) from error
