"""The rules of the accuracy gate and their defaults.

The command line takes its defaults from here, so nothing heavy is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from danet_runtime.errors import UsageError

LEAST_AGREEMENT: Final = 0.97
"""Least share of pixels with FP32's label where no labels measure the accuracy.

A DANet-R18 trained on drawn scenes reaches 99.3 % on frames like those that it was calibrated on, and 97.5 %
and 98.3 % on Cityscapes and CamVid, which it has not seen. An average over pixels hides small classes."""


@dataclass(frozen=True)
class GateRules:
    """Limits of the gate; drops are in percentage points of IoU under FP32.

    Attributes:
        max_miou_drop: Largest drop of the mean over the classes.
        max_class_drop: Largest drop of a guarded class.
        guard: Classes of the bundle to guard; None for those of ``gate.GUARDED`` that it has.
        min_int8_share: Least share of convolution MACs, 0..1, that must be left on INT8 when the gate has
            moved layers back to FP16; a file with less is FP16 with the name of INT8.
        min_class_pixels: A guarded class with fewer labelled pixels is not measured.
        min_class_frames: A guarded class that fewer frames show is not measured.
        min_agreement: Least share of pixels, 0..1, that must keep FP32's label where there are no labelled
            frames; where there are, they alone decide.

    Raises:
        UsageError: A limit is negative or no number.
    """

    max_miou_drop: float = 0.5
    max_class_drop: float = 2.0
    guard: tuple[str, ...] | None = None
    min_int8_share: float = 0.5
    min_class_pixels: int = 1000
    min_class_frames: int = 5
    min_agreement: float = LEAST_AGREEMENT

    def __post_init__(self) -> None:
        for name in ("max_miou_drop", "max_class_drop"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be a number of points from 0 on (got {value})")
        for name in ("min_int8_share", "min_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be 0..1 (got {getattr(self, name)})")
        for name in ("min_class_pixels", "min_class_frames"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1 (got {getattr(self, name)})")

    def to_json(self, guard: Guard) -> dict[str, Any]:
        """Return the values for the JSON of the report and the verdict."""
        return {
            "max_miou_drop_points": self.max_miou_drop,
            "max_class_drop_points": self.max_class_drop,
            "min_conv_mac_share_int8": self.min_int8_share,
            "min_class_pixels": self.min_class_pixels,
            "min_class_frames": self.min_class_frames,
            "min_agreement": self.min_agreement,
            "guarded": list(guard.classes),
            "not_in_bundle": list(guard.missing),
        }


@dataclass(frozen=True)
class Guard:
    """The guarded classes as a bundle has them.

    Attributes:
        classes: Names of the bundle's classes, in its order.
        missing: Classes of ``gate.GUARDED`` that the bundle does not have under any known name.
    """

    classes: tuple[str, ...]
    missing: tuple[str, ...] = ()
