"""Which scales: a trained checkpoint's, those of the method that was asked for, or of the best of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from danet_calibration.images.images import CalibrationSet, FrameReader
from danet_calibration.int8.judges import Judge
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.method_choice import compare_methods
from danet_calibration.int8.ranges.methods import CalibrationMethod, MethodChoice
from danet_calibration.int8.ranges.placement_rules import find_placement
from danet_calibration.int8.ranges.ranges import (
    Convergence,
    QuantisedInput,
    Ranges,
    collect_ranges,
    plan_checkpoints,
)
from danet_calibration.int8.ranges.scales import with_trained_scales
from danet_calibration.measure.accuracy import Step
from danet_runtime.bundle.manifest import FrameSpec


@dataclass(frozen=True)
class ScaleChoice:
    """Scales, and how they were come by.

    Attributes:
        method: Whose they are; ``trained``: of a quantisation-aware training.
        inputs: What is quantised, and how.
        measure: What methods were compared by, in words; empty where they were not.
        scores: By method, higher is better, where they were compared.
        convergence: How the scales moved with the number of frames.
        convergence_method: Of which method: the chosen one, or ``percentile`` for ``entropy``, which takes up
            to a second a tensor for each number of frames.
    """

    method: CalibrationMethod | Literal["trained"]
    inputs: Sequence[QuantisedInput]
    measure: str = ""
    scores: dict[CalibrationMethod, float] = field(default_factory=dict)
    convergence: Sequence[Convergence] = ()
    convergence_method: CalibrationMethod | None = None

    def report(self) -> dict[str, Any]:
        """As it stands in the calibration's report."""
        return {
            "method": self.method,
            "methods_compared_by": self.measure or None,
            "method_scores": self.scores,
            "convergence_method": self.convergence_method,
            "convergence": list(self.convergence),
        }


@dataclass(frozen=True)
class ScaleMaterial:
    """What scales are found on.

    Attributes:
        fp32: The bundle's FP32 file, on which ranges are measured.
        base: The FP16 file that is quantised.
        images: To calibrate on; read once, one at a time, whatever the number of methods.
        frame: What the model takes.
        trained: By node and position, scales of a quantisation-aware training: they are taken instead of
            any method's, for the weights were made for them.
    """

    fp32: bytes
    base: bytes
    images: CalibrationSet
    frame: FrameSpec
    trained: Mapping[tuple[str, int], float] | None = None

    def frames(self) -> FrameReader:
        """The images as the model takes them, from the first one on."""
        return FrameReader(self.images, self.frame.size_hw, self.frame.pixels)


def choose_scales(
    material: ScaleMaterial, choice: MethodChoice, judge: Callable[[], Judge], step: Step
) -> ScaleChoice:
    """Find the scales of one method, or of the one that serves the model best.

    Args:
        material: What they are found on.
        choice: A method, or ``auto``.
        judge: Makes what ``auto`` compares by; not called otherwise.
        step: Is told how far it is.

    Raises:
        CalibrationError: The model cannot be quantised, a frame cannot be used, or the trained scales are of
            another network.
    """
    count = len(material.images.files)
    step("find what is to be quantised", 0, 0)
    placement = find_placement(material.fp32, material.frames())
    ranges = collect_ranges(
        material.fp32,
        material.frames(),
        placement,
        plan_checkpoints(count),
        lambda done: step("calibrate", done, count),
    )
    if material.trained is not None:
        return ScaleChoice("trained", with_trained_scales(ranges.inputs("max"), material.trained))
    if choice != "auto":
        step(f"scales by {choice}", 0, 0)
        return _choice(ranges, choice)
    asked = judge()
    compared = compare_methods(
        material.base, ranges, quantise, asked, progress=lambda method: step(f"compare {method}", 0, 0)
    )
    return _choice(ranges, compared.best, asked.measure, compared.scores)


def _choice(
    ranges: Ranges,
    method: CalibrationMethod,
    measure: str = "",
    scores: dict[CalibrationMethod, float] | None = None,
) -> ScaleChoice:
    quick: CalibrationMethod = "percentile" if method == "entropy" else method
    return ScaleChoice(method, ranges.inputs(method), measure, scores or {}, ranges.convergence(quick), quick)
