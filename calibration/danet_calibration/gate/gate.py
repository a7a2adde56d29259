"""The accuracy gate: which classes of a bundle it guards, and how it judges one measured variant.

Everything here is arithmetic on :class:`danet_runtime.bundle.Accuracy`; nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from danet_calibration.gate.rules import GateRules, Guard
from danet_calibration.measure.drop_intervals import Counts, DropIntervals, drop_intervals
from danet_runtime.bundle import Accuracy
from danet_runtime.errors import UsageError

GUARDED: Final = ("person", "rider", "bicycle", "motorcycle", "traffic light", "traffic sign")
"""Classes that a vehicle must not miss, and whose loss an average over all classes hides: few pixels."""

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
class Evidence:
    """Labelled pixels and frames of a guarded class, and whether they are enough."""

    pixels: int
    frames: int
    is_enough: bool

    def to_json(self) -> dict[str, Any]:
        """Return the values for the JSON of the report and the verdict."""
        return {"pixels": self.pixels, "frames": self.frames, "measured": self.is_enough}


@dataclass(frozen=True)
class Judgement:
    """The gate's judgement of one variant; drops are in percentage points under FP32, negative for a gain.

    Attributes:
        miou: Mean IoU, 0..1, as in the manifest: over the classes that are labelled or predicted.
        miou_drop: Drop of the mIoU over the classes that both variants score.
        class_drops: Drop of each guarded class that was measured.
        unmeasured: Guarded classes of which the labelled frames hold too little.
        failures: A sentence for each limit that was passed; empty where the gate holds.
        only_one_scores: Classes that no label holds and only one of the two predicts. The mIoU of that one
            has a 0 for them; in the drop they are left out, or one stray pixel would move it by whole points.
        intervals: Confidence intervals of the drops; None where frames were not counted one by one.
        near: A sentence for each limit that lies in the interval of its drop.
    """

    miou: float
    miou_drop: float
    class_drops: dict[str, float]
    unmeasured: tuple[str, ...]
    failures: tuple[str, ...]
    only_one_scores: tuple[str, ...] = ()
    intervals: DropIntervals | None = None
    near: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every limit is met."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Return the values for the JSON of the report and the verdict."""
        held = self.intervals
        return {
            "miou": self.miou,
            "miou_drop_points": self.miou_drop,
            "miou_drop_interval": held.miou.to_json() if held else None,
            "miou_drop_leaves_out": list(self.only_one_scores),
            "class_drop_points": self.class_drops,
            "class_drop_intervals": {n: i.to_json() for n, i in held.classes.items()} if held else None,
            "near_the_limit": list(self.near),
        }


def find_evidence(
    rules: GateRules, guard: Guard, pixels: Mapping[str, int], frames: Mapping[str, int]
) -> dict[str, Evidence]:
    """Return how much the labels hold of each guarded class.

    Args:
        rules: The least pixels and frames of a class.
        guard: The guarded classes, from :func:`find_guard`.
        pixels: Number of labelled pixels of each class.
        frames: Number of frames with a label of each class.
    """
    found = {}
    for name in guard.classes:
        held = pixels.get(name, 0), frames.get(name, 0)
        is_enough = held[0] >= rules.min_class_pixels and held[1] >= rules.min_class_frames
        found[name] = Evidence(*held, is_enough)
    return found


def why_not_measured(rules: GateRules, evidence: Mapping[str, Evidence]) -> str | None:
    """Return why no verdict is possible, as a sentence; None where one is.

    Every class that the rules name must be measured. Of the default ones some must, for few data sets have
    all of them; a bundle without any has nothing to measure, and its mIoU alone is held.
    """
    short = {name: held for name, held in evidence.items() if not held.is_enough}
    if not short or (rules.guard is None and len(short) < len(evidence)):
        return None
    of = "every guarded class" if rules.guard is None else "what --guard names"
    counts = ", ".join(
        f"{name} ({held.pixels} pixels in {held.frames} frames)" for name, held in short.items()
    )
    return (
        f"the labelled frames hold too little of {of}: {counts}; {rules.min_class_pixels} pixels in "
        f"{rules.min_class_frames} frames of a class are needed (--min-class-pixels, --min-class-frames). "
        "Give labelled frames that show it, or guard the classes that they do show (--guard)"
    )


def find_guard(rules: GateRules, classes: Sequence[str]) -> Guard:
    """Return the classes of a bundle that the rules guard.

    Args:
        rules: Names the classes, or leaves them to :data:`GUARDED` and :data:`ALIASES`.
        classes: Names of the bundle's classes.

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


def judge(
    rules: GateRules,
    guard: Guard,
    reference: Accuracy,
    measured: Accuracy,
    counts: tuple[Counts, Counts] | None = None,
) -> Judgement:
    """Compare a variant with FP32. The drops decide; their intervals are only reported.

    Args:
        rules: The limits.
        guard: The guarded classes, from :func:`find_guard`.
        reference: Accuracy of the FP32 variant.
        measured: Accuracy of the other variant, on the same labelled frames.
        counts: Confusion matrices of both variants, one per frame, for the intervals.
    """
    before, after = _scored(reference), _scored(measured)
    evidence = find_evidence(rules, guard, reference.labelled_pixels, reference.labelled_frames)
    both = [name for name in before if name in after]
    miou_drop = 100 * sum(before[name] - after[name] for name in both) / len(both) if both else 0.0
    drops = {
        name: 100 * (before[name] - after.get(name, 0.0)) for name in evidence if evidence[name].is_enough
    }
    intervals = None
    if counts is not None:
        at = {name: position for position, name in enumerate(reference.iou)}
        intervals = drop_intervals(*counts, [at[name] for name in both], {name: at[name] for name in drops})
    failures, near = [], []
    limits = [("mIoU", miou_drop, rules.max_miou_drop, intervals.miou if intervals else None)]
    limits += [
        (name, drop, rules.max_class_drop, intervals.classes[name] if intervals else None)
        for name, drop in drops.items()
    ]
    for name, drop, limit, interval in limits:
        if drop > limit + _ROUNDING:
            failures.append(f"{name} is {drop:.2f} points under FP32 (limit {limit:g})")
        if interval and interval.contains(limit):
            near.append(
                f"{name} is near the limit of {limit:g} points: {drop:.2f} under FP32, on other frames "
                f"{interval.low:.2f} to {interval.high:.2f} (95 %)"
            )
    return Judgement(
        measured.miou,
        miou_drop,
        drops,
        tuple(name for name, held in evidence.items() if not held.is_enough),
        tuple(failures),
        tuple(name for name in reference.iou if (name in before) != (name in after)),
        intervals,
        tuple(near),
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _named(guarded: str, classes: Sequence[str]) -> list[str]:
    names = {_plain(name) for name in (guarded, *ALIASES[guarded])}
    return [name for name in classes if _plain(name) in names]


def _ordered(found: Any, classes: Sequence[str]) -> tuple[str, ...]:  # noqa: ANN401 - any iterable of lists
    chosen = {name for names in found for name in names}
    return tuple(name for name in classes if name in chosen)


def _scored(accuracy: Accuracy) -> dict[str, float]:
    return {name: value for name, value in accuracy.iou.items() if value is not None}
