"""Comparison of the exported file with the PyTorch network on whole frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from danet_export.errors import ParityError
from danet_export.graph.geometry import OUTPUT_STRIDE, Geometry, plan_geometry
from danet_export.ops.operator_parity import OperatorParity
from danet_runtime.backends.onnxruntime_session import open_session
from danet_runtime.bundle import Precision
from danet_runtime.frames.arrays import UInt8Array

REQUIRED_AGREEMENT: dict[Precision, float] = {"fp32": 0.999, "fp16": 0.99, "int8": 0.95}
"""Least share of pixels whose label must be PyTorch's: on the frames of the comparison, and on the golden
frame for every backend. FP32 differs at near ties only; FP16 rounds logits to 11 bits; for INT8 it is what
calibration may lose."""

TOKEN_LIMIT = 8192
"""Largest number of tokens at which whole frames are compared at full size: the plain bodies store N x N
energies in FP32, three times over, and 1024x2048 has N = 32768 (12 GiB)."""


@dataclass(frozen=True)
class FrameParity:
    """Agreement of one file with PyTorch."""

    precision: Precision
    model_hw: tuple[int, int]
    frames: int
    agreement: float
    worst_frame_agreement: float
    classes_seen: int
    seconds: float


def parity_geometry(geometry: Geometry) -> Geometry:
    """Return the sizes at which frames are compared: the bundle's, or smaller beyond :data:`TOKEN_LIMIT`.

    The reduced size keeps the aspect ratio, the fit, the kind of size (8k or 8k+1) and the pixel format, for
    which its frames are of even size.
    """
    if geometry.tokens <= TOKEN_LIMIT:
        return geometry
    scale = (TOKEN_LIMIT / geometry.tokens) ** 0.5
    extra = geometry.model_hw[0] % OUTPUT_STRIDE
    height, width = (
        max(1, int((extent - extra) * scale / OUTPUT_STRIDE)) * OUTPUT_STRIDE + extra
        for extent in geometry.model_hw
    )
    step = 1 if geometry.pixels.format == "bgr" else 2
    rows, columns = (max(1, round(extent * scale / step)) * step for extent in geometry.frame_hw)
    return plan_geometry(
        (height, width), (rows, columns), geometry.fit, geometry.align_corners, geometry.pixels
    )


def run_labels(model: onnx.ModelProto, frames: Sequence[UInt8Array]) -> list[UInt8Array]:
    """Compute the labels of each frame with ONNX Runtime on the CPU.

    Args:
        model: Model with input ``frame`` and output ``labels``.
        frames: Frames in the model's own layout, uint8, without its first axis.

    Returns:
        Labels, (H, W) each.
    """
    session = open_session(model.SerializeToString())
    return [session.run(["labels"], {"frame": frame[None]})[0][0] for frame in frames]


def compare_frames(
    precision: Precision,
    model: onnx.ModelProto,
    expected: Sequence[UInt8Array],
    frames: Sequence[UInt8Array],
    model_hw: tuple[int, int],
) -> FrameParity:
    """Run a file on frames in its own layout and compare its labels with the expected ones."""
    started = time.perf_counter()
    shares = [
        float((got == want).mean()) for got, want in zip(run_labels(model, frames), expected, strict=True)
    ]
    return FrameParity(
        precision=precision,
        model_hw=model_hw,
        frames=len(frames),
        agreement=float(np.mean(shares)),
        worst_frame_agreement=min(shares),
        classes_seen=len(np.unique(np.concatenate([labels.ravel() for labels in expected]))),
        seconds=time.perf_counter() - started,
    )


def require_agreement(parity: FrameParity) -> None:
    """Refuse a file whose labels differ too much from PyTorch's.

    Raises:
        ParityError: The agreement is below :data:`REQUIRED_AGREEMENT` of its precision.
    """
    least = REQUIRED_AGREEMENT[parity.precision]
    if parity.agreement < least:
        raise ParityError(
            f"the {parity.precision} model agrees with PyTorch on {parity.agreement:.4%} of the pixels of "
            f"{parity.frames} frames at {parity.model_hw[0]}x{parity.model_hw[1]}; expected {least:.1%}"
        )


def report(
    geometry: Geometry, frames: Sequence[FrameParity], operators: Sequence[OperatorParity]
) -> dict[str, Any]:
    """Return the content of ``reports/parity.json``."""
    reduced = any(parity.model_hw != geometry.model_hw for parity in frames)
    return {
        "reference": "PyTorch FP32 on the CPU, the network as trained",
        "required_agreement": REQUIRED_AGREEMENT,
        "model_hw": geometry.model_hw,
        "pixel_format": str(geometry.pixels),
        "compared_at_reduced_size": reduced,
        "note_fp16": "ONNX Runtime's CPU provider computes an FP16 graph in FP32: this agreement shows that "
        "the file is right, not that FP16's range suffices",
        "frames": [asdict(parity) for parity in frames],
        "operators": [asdict(parity) for parity in operators],
    }
