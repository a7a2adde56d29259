"""The gate of FP16: measure its range, mend what can be mended and measure again, and refuse the rest."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from danet_calibration.errors import GateError
from danet_calibration.fp16.islands import island_nodes, keep_fp32
from danet_calibration.fp16.numeric_range import Progress, measure_fp16_range
from danet_calibration.fp16.report import Fp16Range, require_fp16_range
from danet_runtime.bundle import Bundle
from danet_runtime.frames.arrays import UInt8Array

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SafeFp16:
    """An FP16 file that holds its tensors on the frames that were tried.

    Attributes:
        model: The ONNX file; the bundle's own where nothing had to be kept in FP32.
        measured: Range of that file.
        shipped: Range of the bundle's own file, the same object where nothing had to be kept in FP32.
        kept_fp32: Names of the nodes that run in FP32 now.
    """

    model: bytes
    measured: Fp16Range
    shipped: Fp16Range
    kept_fp32: tuple[str, ...]

    def report(self) -> dict[str, Any]:
        """Return the ranges of :attr:`model` as JSON, and under ``before`` those that put nodes into FP32."""
        report = self.measured.report(self.kept_fp32)
        if self.kept_fp32:
            before = self.shipped.report()
            keys = ("beyond_limit", "nonfinite_alone", "nonfinite_when_rounded")
            report["before"] = {key: before[key] for key in keys}
        return report

    def summary(self) -> list[str]:
        """Return the report as a few lines of text."""
        lines = self.shipped.summary()
        if self.kept_fp32:
            nodes = ", ".join(self.kept_fp32)
            lines += [f"kept in FP32: {nodes}. Then:", *self.measured.summary()]
        return lines


def secure_fp16(
    bundle: Bundle, frames: Callable[[], Iterable[UInt8Array]], progress: Progress | None = None
) -> SafeFp16:
    """Measure the bundle's FP16 file, and keep in FP32 what goes beyond half of FP16's range.

    Args:
        bundle: Holds an FP32 and an FP16 file.
        frames: Returns (H, W, 3) BGR frames of the bundle's size; called again to measure a changed file.
        progress: Called after each frame with the number done, and 0 for the unknown number of all.

    Raises:
        GateError: A tensor of an attention goes beyond, the FP32 file itself gives values that are not
            finite, or the FP16 file does when rounded although nothing of FP32 goes beyond.
        CalibrationError: No frames, or files that do not belong together.
    """
    shipped = measure_fp16_range(bundle, frames(), progress)
    endless = [item.source for item in shipped.tensors if math.isinf(item.largest)]
    if endless:
        raise GateError(
            f"the FP32 file itself gives values that are not finite, first in {endless[0]}; "
            "no precision mends that: train the model again"
        )
    tensors = {item.tensor for item in shipped.beyond_limit}
    model = bundle.read(bundle.variant("fp16").file)
    if not tensors:
        require_fp16_range(shipped)
        return SafeFp16(model, shipped, shipped, ())
    kept = tuple(island_nodes(model, tensors))
    _log.info("kept in FP32: %s, for the tensors %s", ", ".join(kept), ", ".join(sorted(tensors)))
    model = keep_fp32(model, tensors, bundle.read(bundle.variant("fp32").file))
    measured = measure_fp16_range(bundle, frames(), progress, fp16_model=model)
    require_fp16_range(measured)
    return SafeFp16(model, measured, shipped, kept)
