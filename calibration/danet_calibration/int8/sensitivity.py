"""Sensitivity of each layer: it alone quantised, everything else in floating point, against the FP32 file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from danet_calibration.int8.layers import Layer
from danet_calibration.int8.placement import quantise
from danet_calibration.measure.network import FloatArray, Network
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_train.data.samples.sample import Dataset

SENSITIVITY_FRAMES = 8
"""Largest number of labelled frames that the layers are ranked on. The error of logits is a mean over every
position and class: unlike an IoU it needs few frames."""

LayerStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sensitivity:
    """The effect of one layer.

    Attributes:
        layer: The layer.
        error: Squared error of the logits over their variance for each class, then the mean over the classes:
            a class of few pixels counts as much as the road.
        disagreement: Share of pixels whose label changes, 0..1.
    """

    layer: Layer
    error: float
    disagreement: float

    def to_json(self) -> dict[str, Any]:
        """Return the values for the JSON of the report and the verdict."""
        return {
            "layer": self.layer.name,
            "node": self.layer.node,
            "macs": self.layer.macs,
            "logit_error": self.error if math.isfinite(self.error) else None,
            "label_disagreement": self.disagreement,
        }


def sensitivity_samples(dataset: Dataset, count: int = SENSITIVITY_FRAMES) -> Dataset:
    """Return samples spread evenly over a data set, always the same ones."""
    positions = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return Dataset([dataset.pairs[position] for position in positions], dataset.classes)


def measure_sensitivity(
    reference: bytes,
    base: bytes,
    layers: Sequence[Layer],
    frames: Sequence[UInt8Array],
    step: LayerStep,
    pixels: Pixels = BGR,
) -> list[Sensitivity]:
    """Rank layers by their error when each is quantised alone.

    Args:
        reference: The FP32 file.
        base: The FP16 file without quantisation.
        layers: The layers to rank.
        frames: (H, W, 3) BGR each.
        step: Called with the layer's name, the number done and the number of all.
        pixels: Pixel format of the model's input.

    Returns:
        The sensitivities, the worst first; equal ones in the order of ``layers``.
    """
    network = Network(onnx.load_from_string(reference), pixels)
    expected = [network(frame) for frame in frames]
    found = []
    for done, layer in enumerate(layers):
        step(layer.name, done, len(layers))
        quantised = Network(quantise(base, layer.inputs), pixels)
        measured = [quantised(frame) for frame in frames]
        error = _relative_error([m[1] for m in measured], [e[1] for e in expected])
        changed = float(np.mean([(m[0] != e[0]).mean() for m, e in zip(measured, expected, strict=True)]))
        found.append(Sensitivity(layer, error, changed))
    return sorted(found, key=lambda item: -item.error)


def _relative_error(measured: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the error of (C, h, w) logits; non-finite ones, beyond FP16's range, give infinity."""
    classes = np.concatenate([logits.reshape(len(logits), -1) for logits in expected], axis=1).astype(float)
    wrong = np.concatenate([logits.reshape(len(logits), -1) for logits in measured], axis=1).astype(float)
    with np.errstate(invalid="ignore", over="ignore"):
        squared = np.mean((wrong - classes) ** 2, axis=1)
    error = float(np.mean(squared / np.maximum(classes.var(axis=1), np.finfo(np.float32).tiny)))
    return error if np.isfinite(error) else float("inf")
