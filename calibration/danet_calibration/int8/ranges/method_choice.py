"""Choice of the calibration method by a score on frames that were not calibrated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from danet_calibration.errors import CalibrationError
from danet_calibration.int8.ranges.methods import METHODS, CalibrationMethod
from danet_calibration.int8.ranges.ranges import QuantisedInput, Ranges


@dataclass(frozen=True)
class MethodComparison:
    """Scores of the methods.

    Attributes:
        scores: Score of each method, in the order of trial; higher is better.
        best: The first method with the highest score.
    """

    scores: dict[CalibrationMethod, float]
    best: CalibrationMethod


def compare_methods(
    model: bytes,
    ranges: Ranges,
    quantise: Callable[[bytes, Sequence[QuantisedInput]], onnx.ModelProto],
    score: Callable[[bytes], float],
    methods: Sequence[CalibrationMethod] = METHODS,
    progress: Callable[[CalibrationMethod], None] = lambda _method: None,
) -> MethodComparison:
    """Quantise a model by each method, and score each.

    Args:
        model: The file that is quantised, FP16 or FP32.
        ranges: Ranges of the same network's FP32 file.
        quantise: Puts scales into the model; :func:`danet_calibration.int8.placement.quantise`.
        score: Returns the score of an INT8 file, higher is better: mIoU on labelled frames, or agreement with
            FP32.
        methods: Methods to try; where scores tie, the earlier wins.
        progress: Called with the next method.

    Raises:
        CalibrationError: A score is not finite, or no method is given.
    """
    if not methods:
        raise CalibrationError(f"expected calibration methods to compare, of {', '.join(METHODS)}; got none")
    scores: dict[CalibrationMethod, float] = {}
    for method in methods:
        progress(method)
        value = score(quantise(model, ranges.inputs(method)).SerializeToString())
        if not math.isfinite(value):
            raise CalibrationError(
                f"the score of {method} is {value}; give frames on which the model can be measured"
            )
        scores[method] = value
    return MethodComparison(scores, max(scores, key=lambda method: scores[method]))
