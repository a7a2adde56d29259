"""The accuracy gate: its rules, which classes it guards, and what it says of one measured variant.

Everything here is arithmetic on :class:`danet_runtime.bundle.Accuracy`; nothing is run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from danet_runtime.bundle import Accuracy
from danet_runtime.errors import UsageError

GUARDED: Final = ("person", "rider", "bicycle", "motorcycle", "traffic light", "traffic sign")
"""Classes whose loss an average over all classes hides: few pixels, and what a vehicle must not miss."""

ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "person": ("pedestrian", "child", "people", "human"),
    "rider": ("bicyclist", "cyclist", "motorcyclist"),
    "bicycle": ("bike",),
    "motorcycle": ("motorbike", "motorcycle/scooter"),
    "traffic light": ("trafficlight",),
    "traffic sign": ("sign", "sign/symbol"),
}
"""Other data sets' names for the guarded classes: CamVid's (11 and 32 classes), Mapillary's and common ones.
CamVid's ``bicyclist`` is rider and bicycle in one. Case, spaces and punctuation do not matter."""

_ROUNDING = 1e-9
"""Points: a drop of exactly the limit passes, whatever the subtraction of two floats made of it."""


@dataclass(frozen=True)
class GateRules:
    """What a quantised variant must keep, in percentage points of IoU under FP32.

    Attributes:
        max_miou_drop: Most that the mean over the classes may fall.
        max_class_drop: Most that a guarded class may fall.
        guard: Classes of the bundle to guard; None for those of :data:`GUARDED` that it has.
        min_int8_share: Least share of convolution MACs, 0..1, that must be left on INT8 when the gate has
            moved layers back to FP16; a file with less is FP16 with the name of INT8.

    Raises:
        UsageError: A limit is negative or no number.
    """

    max_miou_drop: float = 0.5
    max_class_drop: float = 2.0
    guard: tuple[str, ...] | None = None
    min_int8_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("max_miou_drop", "max_class_drop"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be a number of points from 0 on (got {value})")
        if not 0 <= self.min_int8_share <= 1:
            raise UsageError(f"min_int8_share must be 0..1 (got {self.min_int8_share})")


@dataclass(frozen=True)
class Guard:
    """The guarded classes as a bundle has them.

    Attributes:
        classes: Names of the bundle's classes, in its order.
        missing: Classes of :data:`GUARDED` that the bundle does not have under any known name.
    """

    classes: tuple[str, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What the gate says of one variant; all drops in percentage points under FP32, negative for a gain.

    Attributes:
        miou: Mean IoU, 0..1, over the classes that occur in the labels.
        miou_drop: How far it fell.
        class_drops: How far each guarded class fell that occurs in the labels.
        unmeasured: Guarded classes that the labelled frames do not hold.
        failures: Each limit that was passed, in words; empty where the gate holds.
    """

    miou: float
    miou_drop: float
    class_drops: dict[str, float]
    unmeasured: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether no limit was passed."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """As it stands in the report and in the verdict."""
        return {
            "miou": self.miou,
            "miou_drop_points": self.miou_drop,
            "class_drop_points": self.class_drops,
            "holds": self.holds,
            "failures": list(self.failures),
        }


def find_guard(rules: GateRules, classes: Sequence[str]) -> Guard:
    """The classes of a bundle that the rules guard.

    Args:
        rules: Names them, or leaves it to :data:`GUARDED` and :data:`ALIASES`.
        classes: The bundle's.

    Raises:
        UsageError: The rules name a class that the bundle does not have.
    """
    if rules.guard is None:
        found = {name: _named(name, classes) for name in GUARDED}
        missing = tuple(name for name, held in found.items() if not held)
        return Guard(_ordered(found.values(), classes), missing)
    asked = {name: [held for held in classes if _plain(held) == _plain(name)] for name in rules.guard}
    unknown = [name for name, held in asked.items() if not held]
    if unknown:
        raise UsageError(
            f"the bundle has no class {', '.join(map(repr, unknown))} to guard; it has {', '.join(classes)}"
        )
    return Guard(_ordered(asked.values(), classes))


def judge(rules: GateRules, guard: Guard, reference: Accuracy, measured: Accuracy) -> Judgement:
    """Compare a variant with FP32.

    The mean runs over the classes that occur in the labels. A class that does not occur scores 0 as soon as
    one pixel is taken for it, which would move the usual mean by whole points, and for one variant only.

    Args:
        rules: The limits.
        guard: As :func:`find_guard` gives it.
        reference: Of the FP32 variant.
        measured: Of the other one, on the same labelled frames.
    """
    occurring = [name for name, pixels in reference.labelled_pixels.items() if pixels]
    before, after = _scores(reference, occurring), _scores(measured, occurring)
    miou = _mean(after)
    miou_drop = 100 * (_mean(before) - miou)
    drops = {name: 100 * (before[name] - after[name]) for name in guard.classes if name in before}
    failures = []
    if miou_drop > rules.max_miou_drop + _ROUNDING:
        failures.append(f"mIoU is {miou_drop:.2f} points under FP32 (limit {rules.max_miou_drop:g})")
    failures += [
        f"{name} is {drop:.2f} points under FP32 (limit {rules.max_class_drop:g})"
        for name, drop in drops.items()
        if drop > rules.max_class_drop + _ROUNDING
    ]
    unmeasured = tuple(name for name in guard.classes if name not in before)
    return Judgement(miou, miou_drop, drops, unmeasured, tuple(failures))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _named(guarded: str, classes: Sequence[str]) -> list[str]:
    names = {_plain(name) for name in (guarded, *ALIASES[guarded])}
    return [name for name in classes if _plain(name) in names]


def _ordered(found: Any, classes: Sequence[str]) -> tuple[str, ...]:  # noqa: ANN401 - any iterable of lists
    chosen = {name for names in found for name in names}
    return tuple(name for name in classes if name in chosen)


def _scores(accuracy: Accuracy, classes: Sequence[str]) -> dict[str, float]:
    # A class with labelled pixels has a union, and so a score; 0 stands for a table that lacks it.
    return {name: accuracy.iou.get(name) or 0.0 for name in classes}


def _mean(scores: dict[str, float]) -> float:
    return sum(scores.values()) / len(scores)
