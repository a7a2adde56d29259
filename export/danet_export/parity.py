"""Does the exported file do what the PyTorch network does: on whole frames, and operator by operator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from danet_export import attention_ops as ops
from danet_export import reference_ops
from danet_export.errors import ParityError
from danet_export.geometry import OUTPUT_STRIDE, Geometry, plan_geometry

REQUIRED_AGREEMENT = 0.999
"""Share of pixels whose label must be PyTorch's, for the FP32 file."""

OPERATOR_TOLERANCE = 1e-5
"""Largest relative error, in the norm, of a single operator's FP32 body against float64."""

LABEL_TOLERANCE = 1e-3
"""Largest share of labels that UpsampleArgmax's FP32 body may give otherwise than float64, at near ties."""

TOKEN_LIMIT = 8192
"""Tokens up to which whole frames are compared at full size: the plain bodies store N x N energies in FP32,
three times over, and 1024x2048 has N = 32768 (12 GiB)."""

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FrameParity:
    """Agreement of one file with PyTorch."""

    precision: str
    model_hw: tuple[int, int]
    frames: int
    agreement: float
    worst_frame_agreement: float
    classes_seen: int
    seconds: float


@dataclass(frozen=True)
class OperatorParity:
    """Error of one operator's body against float64."""

    operator: str
    shape: tuple[int, ...]
    error: float
    limit: float


def parity_geometry(geometry: Geometry) -> Geometry:
    """The sizes at which frames are compared: the bundle's own, or, beyond :data:`TOKEN_LIMIT`, smaller ones.

    The reduced size keeps the aspect ratio, the fit and the kind of size (8k or 8k+1).
    """
    if geometry.tokens <= TOKEN_LIMIT:
        return geometry
    scale = (TOKEN_LIMIT / geometry.tokens) ** 0.5
    extra = geometry.model_hw[0] % OUTPUT_STRIDE
    height, width = (
        max(1, int((extent - extra) * scale / OUTPUT_STRIDE)) * OUTPUT_STRIDE + extra
        for extent in geometry.model_hw
    )
    fit = "stretch" if geometry.content_hw == geometry.model_hw else "letterbox"
    frame_hw = (max(1, round(geometry.frame_hw[0] * scale)), max(1, round(geometry.frame_hw[1] * scale)))
    return plan_geometry((height, width), frame_hw, fit, geometry.align_corners)  # type: ignore[arg-type]


def run_labels(model: onnx.ModelProto, frames: Sequence[UInt8Array]) -> list[UInt8Array]:
    """The labels of each frame through ONNX Runtime on the CPU.

    Args:
        model: With input ``frame`` and output ``labels``.
        frames: (H, W, 3) BGR each.

    Returns:
        (H, W) each.
    """
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(["labels"], {"frame": frame[None]})[0][0] for frame in frames]


def compare_frames(
    precision: str,
    model: onnx.ModelProto,
    expected: Sequence[UInt8Array],
    frames: Sequence[UInt8Array],
    model_hw: tuple[int, int],
) -> FrameParity:
    """Run a file on frames and compare its labels with the expected ones."""
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


def require_agreement(parity: FrameParity, least: float = REQUIRED_AGREEMENT) -> None:
    """Refuse a file that does not do what PyTorch does.

    Raises:
        ParityError: The agreement is below ``least``.
    """
    if parity.agreement < least:
        raise ParityError(
            f"the {parity.precision} model agrees with PyTorch on {parity.agreement:.4%} of the pixels of "
            f"{parity.frames} frames at {parity.model_hw[0]}x{parity.model_hw[1]}; expected {least:.1%}"
        )


def compare_operators(align_corners: bool, seed: int = 0) -> list[OperatorParity]:
    """Run each operator's function body alone through ONNX Runtime, against its float64 reference.

    The inputs are FP32 with energies far beyond FP16's range, so that a body which loses its max-subtraction
    or its FP32 energies shows.

    Raises:
        ParityError: An operator's error is beyond its limit.
    """
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> npt.NDArray[np.float32]:
        return (scale * random.standard_normal(shape)).astype(np.float32)

    q, k, v, x = (
        normal(1, 16, 6, 9, scale=40),
        normal(1, 16, 6, 9, scale=40),
        normal(1, 32, 6, 9),
        normal(1, 32, 6, 9),
    )
    features, logits = normal(1, 24, 7, 5, scale=0.3), normal(1, 19, 9, 17, scale=4)
    size = (65, 129)
    cases: list[
        tuple[str, dict[str, npt.NDArray[np.float32]], dict[str, Any], Callable[[], npt.ArrayLike]]
    ] = [
        (
            ops.POSITION_ATTENTION,
            {"q": q, "k": k, "v": v, "x": x},
            {},
            lambda: reference_ops.position_attention(q, k, v, x),
        ),
        (
            ops.CHANNEL_ENERGY,
            {"x": features},
            {**ops.PLUGIN_ATTRIBUTES, "slices": 2},
            lambda: reference_ops.channel_energy(features, 2),
        ),
        (
            ops.UPSAMPLE_ARGMAX,
            {"logits": logits},
            ops.upsample_argmax_attributes(size, align_corners),
            lambda: reference_ops.upsample_argmax(logits, size, align_corners),
        ),
    ]
    results = []
    for operator, inputs, attributes, reference in cases:
        expected = np.asarray(reference(), np.float64)
        got = run_operator(operator, inputs, attributes or ops.PLUGIN_ATTRIBUTES, align_corners)
        if operator == ops.UPSAMPLE_ARGMAX:
            error, limit = float((got != expected).mean()), LABEL_TOLERANCE
        else:
            error, limit = (
                float(np.linalg.norm(got - expected) / np.linalg.norm(expected)),
                OPERATOR_TOLERANCE,
            )
        if not error <= limit:
            raise ParityError(f"{operator}: error {error:.2e} against float64; expected at most {limit:.0e}")
        results.append(OperatorParity(operator, tuple(expected.shape), error, limit))
    return results


def run_operator(
    operator: str, inputs: dict[str, npt.NDArray[Any]], attributes: dict[str, Any], align_corners: bool
) -> npt.NDArray[np.float64]:
    """One custom node with its function body, through ONNX Runtime."""
    kind = helper.np_dtype_to_tensor_dtype(next(iter(inputs.values())).dtype)
    output_kind = onnx.TensorProto.FLOAT if operator == ops.CHANNEL_ENERGY else kind
    node = helper.make_node(operator, list(inputs), ["y"], domain=ops.DOMAIN, **attributes)
    graph = helper.make_graph(
        [node],
        operator,
        [helper.make_tensor_value_info(name, kind, array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", output_kind, None)],
    )
    opsets = [helper.make_opsetid("", ops.BODY_OPSET), helper.make_opsetid(ops.DOMAIN, 1)]
    bodies = [body for body in ops.function_bodies(align_corners) if body.name == operator]
    model = helper.make_model(graph, opset_imports=opsets, functions=bodies, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], inputs)[0], np.float64)


def report(
    geometry: Geometry, frames: Sequence[FrameParity], operators: Sequence[OperatorParity]
) -> dict[str, Any]:
    """The content of ``reports/parity.json``."""
    reduced = any(parity.model_hw != geometry.model_hw for parity in frames)
    return {
        "reference": "PyTorch FP32 on the CPU, the network as trained",
        "required_agreement_fp32": REQUIRED_AGREEMENT,
        "model_hw": geometry.model_hw,
        "compared_at_reduced_size": reduced,
        "note_fp16": "ONNX Runtime's CPU provider computes an FP16 graph in FP32: this agreement shows that "
        "the file is right, not that FP16's range suffices",
        "frames": [asdict(parity) for parity in frames],
        "operators": [asdict(parity) for parity in operators],
    }
