"""The history of a training: loss and learning rate by step, scores on the way, lost samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from danet_train.data.samples.faults import Skipped
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.training.loop import Progress

_CURVE_POINTS = 100
NAMED_SKIPPED = 5
"""Number of left-out samples that are named; the others are counted."""


class Score(NamedTuple):
    """The scores on the validation split after step ``step``; NaN where nothing was scored.

    ``skipped`` samples of the split could not be read and do not count.
    """

    step: int
    miou: float
    pixel_accuracy: float
    skipped: int = 0


@dataclass
class History:
    """The curves and counts of a training; part of the state that it is resumed from.

    Attributes:
        losses: The loss of each step.
        rates: The learning rate of each step.
        scores: The scores of each evaluation on the validation split, in order.
        skipped: Number of samples that were left out; one that comes again counts again.
        first_skipped: The first few of them, each once.
    """

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    skipped: int = 0
    first_skipped: list[Skipped] = field(default_factory=list)

    def note(self, progress: Progress) -> None:
        """Add one step."""
        self.losses.append(progress.loss)
        self.rates.append(progress.lr)
        self.skipped += len(progress.skipped)
        known = {skipped.name for skipped in self.first_skipped}
        for skipped in progress.skipped:
            if skipped.name not in known and len(self.first_skipped) < NAMED_SKIPPED:
                known.add(skipped.name)
                self.first_skipped.append(skipped)

    def score(self, matrix: ConfusionMatrix, skipped: int = 0) -> bool:
        """Add an evaluation after the steps so far, and return whether it is the best one yet.

        Among equal scores the first is the best. An evaluation without scored pixels is the best only where
        there is no other.
        """
        best = self.best
        self.scores.append(Score(len(self.losses), matrix.miou, matrix.pixel_accuracy, skipped))
        return best is None or _rank(self.scores[-1]) > _rank(best)

    @property
    def best(self) -> Score | None:
        """The first score of the highest mIoU; None before the first evaluation."""
        return max(self.scores, key=_rank, default=None)

    def state(self) -> dict[str, Any]:
        """Return all of it as plain values, for :meth:`of_state`."""
        return {
            "losses": self.losses,
            "rates": self.rates,
            "scores": [tuple(score) for score in self.scores],
            "skipped": self.skipped,
            "first_skipped": [tuple(skipped) for skipped in self.first_skipped],
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> History:
        """Make the history that :meth:`state` stored."""
        return cls(
            losses=list(map(float, state["losses"])),
            rates=list(map(float, state["rates"])),
            scores=[
                Score(int(step), float(miou), float(accuracy), int(skipped))
                for step, miou, accuracy, skipped in state["scores"]
            ],
            skipped=int(state["skipped"]),
            first_skipped=[Skipped(*map(str, entry)) for entry in state["first_skipped"]],
        )

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON: ``loss_curve``, ``val_curve``, ``best``, ``skipped``.

        The loss curve has at most about a hundred points: means over equal stretches of steps, each with
        its last step's number and learning rate. Losses that overflowed do not count; None where all did.
        """
        return {
            "loss_curve": list(self._curve()),
            "val_curve": [_plain(score) for score in self.scores],
            "best": None if self.best is None else _plain(self.best),
            "skipped": {
                "count": self.skipped,
                "first": [skipped._asdict() for skipped in self.first_skipped],
            },
        }

    def _curve(self) -> Iterable[dict[str, Any]]:
        stretch = max(1, len(self.losses) // _CURVE_POINTS)
        for start in range(0, len(self.losses), stretch):
            part = self.losses[start : start + stretch]
            end = start + len(part)
            finite = [loss for loss in part if math.isfinite(loss)]
            loss = sum(finite) / len(finite) if finite else None
            yield {"step": end, "loss": loss, "lr": self.rates[end - 1]}


def _rank(score: Score) -> float:
    return -1.0 if math.isnan(score.miou) else score.miou


def _plain(score: Score) -> dict[str, Any]:
    return {name: None if math.isnan(value) else value for name, value in score._asdict().items()}
