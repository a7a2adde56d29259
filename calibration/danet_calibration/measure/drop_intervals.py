"""Confidence intervals of accuracy drops, over other labelled frames of the same kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

RESAMPLES: Final = 1000
SEED: Final = 0
COVERAGE: Final = 0.95
"""Share of the resamples that lie in an interval."""

Counts = npt.NDArray[np.int64]
"""(frames, classes, classes): a confusion matrix per frame, rows the label, columns the prediction."""


@dataclass(frozen=True)
class Interval:
    """Interval from ``low`` to ``high`` percentage points under FP32; negative for a gain."""

    low: float
    high: float

    def contains(self, limit: float) -> bool:
        """Whether a limit lies inside, so that other frames might have decided otherwise."""
        return self.low < limit < self.high

    def to_json(self) -> list[float]:
        """Return ``[low, high]``."""
        return [self.low, self.high]


@dataclass(frozen=True)
class DropIntervals:
    """Intervals of the mIoU and of each guarded class."""

    miou: Interval
    classes: Mapping[str, Interval]


def drop_intervals(
    reference: Counts, measured: Counts, compared: Sequence[int], guarded: Mapping[str, int]
) -> DropIntervals:
    """Bootstrap over frames: draw as many frames with repetition, ``RESAMPLES`` times, and look at the drops.

    Frames are drawn and not pixels, since the pixels of a frame err together. Both variants are scored on
    the same draw.

    Args:
        reference: Confusion matrices of FP32.
        measured: Confusion matrices of the variant, on the same frames.
        compared: Positions of the classes whose mean is the mIoU.
        guarded: Position of each guarded class, by name.
    """
    frames = len(reference)
    draws = np.random.default_rng(SEED).multinomial(frames, np.full(frames, 1 / frames), RESAMPLES)
    before, after = _scores(reference, draws), _scores(measured, draws)  # (RESAMPLES, classes)
    drops = 100 * (before - after)
    chosen = list(compared)
    # A class that a draw lacks has no score there; the mean is over the others.
    held = ~np.isnan(drops[:, chosen])
    means = np.where(held, drops[:, chosen], 0).sum(axis=1) / np.maximum(held.sum(axis=1), 1)
    return DropIntervals(_interval(means), {name: _interval(drops[:, at]) for name, at in guarded.items()})


def _scores(counts: Counts, draws: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    right = draws @ np.diagonal(counts, axis1=1, axis2=2)
    union = draws @ (counts.sum(axis=2) + counts.sum(axis=1)) - right
    scores = np.full(union.shape, np.nan)
    np.divide(right, union, out=scores, where=union > 0)
    return scores


def _interval(drops: npt.NDArray[np.float64]) -> Interval:
    known = drops[~np.isnan(drops)]
    if not known.size:
        return Interval(0.0, 0.0)
    low, high = np.quantile(known, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(low), float(high))
