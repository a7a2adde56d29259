"""Scales of all quantised inputs: found on calibration frames, or taken from a trained checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from danet_calibration.errors import CalibrationError
from danet_calibration.int8.ranges.methods import CalibrationMethod
from danet_calibration.int8.ranges.placement_rules import Frames, find_placement
from danet_calibration.int8.ranges.ranges import QuantisedInput, collect_ranges

__all__ = ["CalibrationMethod", "QuantisedInput", "find_scales", "with_trained_scales"]


def find_scales(model: bytes, frames: Frames, method: CalibrationMethod) -> list[QuantisedInput]:
    """Let modelopt choose what is quantised, and find all scales.

    Args:
        model: The bundle's FP32 file.
        frames: The calibration frames.
        method: Calibration method, see
            :meth:`danet_calibration.int8.ranges.histograms.MagnitudeHistogram.amax`.

    Raises:
        CalibrationError: modelopt failed, the model holds Q/DQ already, or a frame cannot be used.
    """
    return collect_ranges(model, frames, find_placement(model, frames)).inputs(method)


def with_trained_scales(
    inputs: Sequence[QuantisedInput], trained: Mapping[tuple[str, int], float]
) -> list[QuantisedInput]:
    """Replace the activations' scales by those that a quantisation-aware training ended with.

    Args:
        inputs: The quantised inputs, as :func:`find_scales` gives them; the weights' scales stay.
        trained: Scale of every activation among ``inputs``, by node and position: its largest magnitude that
            is not clipped, / 127.

    Raises:
        CalibrationError: A scale is missing, belongs to no activation, or is not a positive number.
    """
    activations = {(item.node, item.position) for item in inputs if item.scale.ndim == 0}
    unknown, missing = sorted(set(trained) - activations), sorted(activations - set(trained))
    if unknown or missing:
        raise CalibrationError(
            f"expected trained scales of the {len(activations)} activations that are quantised: "
            f"{_listed('missing', missing)}, {_listed('unknown', unknown)}; export the checkpoint that was "
            "trained with --quantize, and calibrate that bundle"
        )
    wrong = [key for key, scale in trained.items() if not (np.isfinite(scale) and scale > 0)]
    if wrong:
        node, position = wrong[0]
        raise CalibrationError(
            f"expected positive trained scales, got {trained[wrong[0]]} for input {position} of {node}; "
            "train again"
        )
    return [
        QuantisedInput(item.node, item.position, np.asarray(trained[item.node, item.position], np.float32))
        if item.scale.ndim == 0
        else item
        for item in inputs
    ]


def _listed(what: str, keys: Sequence[tuple[str, int]]) -> str:
    if not keys:
        return f"none {what}"
    names = ", ".join(f"{node}[{position}]" for node, position in keys[:3])
    return f"{len(keys)} {what} ({names}{', ...' if len(keys) > 3 else ''})"
