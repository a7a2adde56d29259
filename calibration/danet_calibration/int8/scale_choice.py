"""Choice of the scales: a trained checkpoint's, or those of the wanted or the best calibration method."""

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
    """Scales and their origin.

    Attributes:
        method: Calibration method of the scales; ``trained`` for a quantisation-aware training.
        inputs: The quantised inputs with their scales.
        measure: Name of the score that methods were compared by; empty where they were not compared.
        scores: Score of each method, higher is better; empty where they were not compared.
        convergence: Change of the scales with the number of frames.
        convergence_method: Method of ``convergence``: the chosen one, or ``percentile`` for ``entropy``,
            which takes up to a second per tensor for each number of frames.
    """

    method: CalibrationMethod | Literal["trained"]
    inputs: Sequence[QuantisedInput]
    measure: str = ""
    scores: dict[CalibrationMethod, float] = field(default_factory=dict)
    convergence: Sequence[Convergence] = ()
    convergence_method: CalibrationMethod | None = None

    def report(self) -> dict[str, Any]:
        """Return the values for the JSON of the calibration's report."""
        return {
            "method": self.method,
            "methods_compared_by": self.measure or None,
            "method_scores": self.scores,
            "convergence_method": self.convergence_method,
            "convergence": list(self.convergence),
        }


@dataclass(frozen=True)
class ScaleMaterial:
    """Inputs of the choice of scales.

    Attributes:
        fp32: The bundle's FP32 file, on which ranges are measured.
        base: The FP16 file that is quantised.
        images: Calibration images; read once, one at a time, whatever the number of methods.
        frame: Size and pixel format of the model's input.
        trained: Scales of a quantisation-aware training, by node and position. They are taken instead of any
            method's, because the weights were trained for them.
    """

    fp32: bytes
    base: bytes
    images: CalibrationSet
    frame: FrameSpec
    trained: Mapping[tuple[str, int], float] | None = None

    def frames(self) -> FrameReader:
        """Return a reader of the images in the model's input format, at the first image."""
        return FrameReader(self.images, self.frame.size_hw, self.frame.pixels)


def choose_scales(
    material: ScaleMaterial, choice: MethodChoice, judge: Callable[[], Judge], step: Step
) -> ScaleChoice:
    """Find the scales of one method, or of the method with the best score.

    Args:
        material: Files, images and trained scales.
        choice: A method, or ``auto``.
        judge: Makes the judge by which ``auto`` compares the methods; not called otherwise.
        step: Called with the name of a step, the parts done and the number of parts.

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
