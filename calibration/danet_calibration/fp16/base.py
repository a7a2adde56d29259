"""The FP16 file that is quantised: the bundle's own, or one with parts in FP32 where FP16 is too small."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from danet_calibration.errors import GateError
from danet_calibration.fp16.gate import SafeFp16, secure_fp16
from danet_calibration.images.images import CalibrationSet
from danet_calibration.measure.accuracy import Step, measure_golden
from danet_runtime.bundle import Bundle, BundleWriter
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_pixel_format

RANGE_FRAMES: Final = 4
"""Frames on which the range of FP16 is measured: node by node, twice, which is slow."""

FEW_TOKENS: Final = 8192
"""Beyond this number of attention tokens (512x1024) one frame must do: on a CPU it takes minutes."""


def measure_and_mend(
    source: Bundle, images: CalibrationSet, frames: int | None, step: Step
) -> SafeFp16 | None:
    """Measure the range of the FP16 file on a few frames, and keep in FP32 what goes beyond half of it.

    Args:
        source: Holds an FP32 and an FP16 variant.
        images: Calibration images; the first ones are used, which are spread over groups and brightness.
        frames: Number of frames; 0 measures nothing; None: by the model's size.
        step: Called with the name of a step, the parts done and the number of parts.

    Raises:
        GateError: See :func:`danet_calibration.fp16.gate.secure_fp16`.
    """
    if frames is None:
        frames = RANGE_FRAMES if source.manifest.model.tokens <= FEW_TOKENS else 1
    if not frames:
        return None
    taken = min(frames, len(images.files))
    spec = source.manifest.frame

    def given() -> Iterator[UInt8Array]:
        for frame in itertools.islice(images.frames(spec.size_hw), taken):
            yield to_pixel_format(frame, spec.pixels)

    return secure_fp16(
        source,
        given,
        lambda done, _of: step("measure the range of FP16", done, taken),
    )


def write_base(source: Bundle, safe: SafeFp16 | None, writer: BundleWriter) -> Bundle:
    """Copy a bundle, with the mended FP16 file where there is one."""
    if safe is None or not safe.kept_fp32:
        for ref in source.manifest.files():
            writer.copy(source, ref)
        return writer.preview(source.manifest)
    variant = source.variant("fp16")
    for ref in source.manifest.files():
        if ref != variant.file:
            writer.copy(source, ref)
    mended = variant.model_copy(update={"file": writer.add(variant.file.path, safe.model), "accuracy": None})
    variants = {**source.manifest.variants, "fp16": mended}
    return writer.preview(source.manifest.model_copy(update={"variants": variants}))


def require_mended(bundle: Bundle, safe: SafeFp16 | None) -> None:
    """Require that a mended FP16 file gives enough of the golden frame's labels.

    Raises:
        GateError: It gives too few.
    """
    if safe is None or not safe.kept_fp32:
        return
    golden = measure_golden(bundle, "fp16")
    if not golden.is_passed:
        raise GateError(
            f"with {', '.join(safe.kept_fp32)} in FP32, {golden.complaint('ONNX Runtime')}. "
            "Train with weight decay, or build fp32"
        )
