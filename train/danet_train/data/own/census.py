"""Count the codes of masks, and tell the colors of classes from those that smoothing made between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from danet_train.data.own.masks import Codes
from danet_train.errors import DataError

MOST_CODES: Final = 20_000
"""Different codes in one mask at most; smoothing makes thousands, a photograph has more."""

_SOLID_SHARE: Final = 0.05
_BETWEEN_SHARE: Final = 0.5
_STRAY_SHARE: Final = 2e-4
_LONGEST_BLEND: Final = 3  # pixels of one color across a smoothed border


class Count(NamedTuple):
    """The pixels of one code.

    Attributes:
        pixels: All.
        solid: Those whose four neighbours have the same code.
        between: Those in a short run whose color lies, channel by channel, between the runs before and after
            it, in a row or a column; one in both counts twice.
        masks: Number of masks that hold it.
    """

    pixels: int
    solid: int
    between: int
    masks: int

    def __add__(self, other: tuple[object, ...]) -> Count:
        """Return the sum of both, part by part."""
        if not isinstance(other, Count):
            return NotImplemented
        return Count(*(one + two for one, two in zip(self, other, strict=True)))


class _Runs(NamedTuple):
    """Pixels of one code that follow each other in a row."""

    codes: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.int64]
    is_inside: npt.NDArray[np.bool_]  # neither the first nor the last of its row


def count_codes(codes: Codes, origin: str) -> dict[int, Count]:
    """Count the codes of a mask.

    Args:
        codes: (H, W).
        origin: Name of the mask in an error.

    Raises:
        DataError: There are more than :data:`MOST_CODES`.
    """
    rows = _runs(codes)
    there = np.unique(rows.codes)
    if len(there) > MOST_CODES:
        raise DataError(
            f"{origin} holds {len(there)} colors; a mask has one for each class: it is a photograph, or was "
            "stored with loss before"
        )
    pixels = _added(there, rows.codes, rows.lengths)
    between = np.zeros(len(there), np.int64)
    for runs in (rows, _runs(codes.T)):
        is_blend = _between(runs)
        between += _added(there, runs.codes[is_blend], runs.lengths[is_blend])
    solid = np.zeros(len(there), np.int64)
    inner = codes[1:-1, 1:-1]
    is_solid = (inner == codes[:-2, 1:-1]) & (inner == codes[2:, 1:-1])
    is_solid &= (inner == codes[1:-1, :-2]) & (inner == codes[1:-1, 2:])
    found, counts = _unique(inner[is_solid])
    solid[np.searchsorted(there, found)] = counts
    columns = zip(there.tolist(), pixels.tolist(), solid.tolist(), between.tolist(), strict=True)
    return {code: Count(of_all, whole, blend, 1) for code, of_all, whole, blend in columns}


def summed_counts(counts: Iterable[Mapping[int, Count]]) -> dict[int, Count]:
    """Return the counts of several masks together."""
    total: dict[int, Count] = {}
    for count in counts:
        for code, one in count.items():
            total[code] = one + total[code] if code in total else one
    return total


def blends(counts: Mapping[int, Count]) -> set[int]:
    """Return the codes that are no class of their own, but lie between classes where masks were smoothed.

    Such a code hardly ever fills an area, and most of its pixels lie between two others in color and place.
    Where there is one, codes that are rare and fill no area are blends too.
    """
    thin = {code for code, count in counts.items() if count.solid < _SOLID_SHARE * count.pixels}
    found = {code for code in thin if counts[code].between >= _BETWEEN_SHARE * counts[code].pixels}
    if not found:
        return found
    rare = _STRAY_SHARE * sum(count.pixels for count in counts.values())
    return found | {code for code in thin if counts[code].pixels <= rare}


def _runs(codes: Codes) -> _Runs:
    height, width = codes.shape
    begins = np.ones((height, width), np.bool_)
    begins[:, 1:] = codes[:, 1:] != codes[:, :-1]
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=height * width)
    is_inside = (starts % width != 0) & ((starts + lengths) % width != 0)
    return _Runs(np.ascontiguousarray(codes).ravel()[starts], lengths, is_inside)


def _between(runs: _Runs) -> npt.NDArray[np.bool_]:
    candidates = np.flatnonzero(runs.is_inside & (runs.lengths <= _LONGEST_BLEND))
    own, before, after = (_channels(runs.codes[candidates + step]) for step in (0, -1, 1))
    inside = (np.minimum(before, after) <= own) & (own <= np.maximum(before, after))
    is_between = np.zeros(len(runs.codes), np.bool_)
    is_between[candidates] = inside.all(axis=1) & (before != after).any(axis=1)
    return is_between


def _channels(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return np.stack([codes >> 16 & 0xFF, codes >> 8 & 0xFF, codes & 0xFF], axis=1)


def _added(
    there: npt.NDArray[np.uint32], codes: npt.NDArray[np.uint32], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the sum of the lengths of each code in ``there``."""
    places = np.searchsorted(there, codes)
    return np.bincount(places, weights=lengths, minlength=len(there)).astype(np.int64)


def _unique(codes: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return the codes that occur, ascending, and how often, by their runs: areas are few, pixels many."""
    if not codes.size:
        return codes, np.zeros(0, np.int64)
    runs = _runs(codes[None])
    there = np.unique(runs.codes)
    return there, _added(there, runs.codes, runs.lengths)
