"""Export: write a checkpoint's FP32 and FP16 files, compare them with PyTorch, finish the bundle."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import cv2
import onnx
import torch

from danet_export.errors import ExportError
from danet_export.graph import parity
from danet_export.graph.geometry import Geometry
from danet_export.graph.metadata import describe, write_metadata
from danet_export.graph.native_bodies import native_functions
from danet_export.graph.onnx_model import OPSET, to_onnx
from danet_export.graph.torch_reference import TorchReference
from danet_export.graph.trained_scales import locate_scales
from danet_export.graph.wrapper import ExportedDANet, held_operators, operator_sizes
from danet_export.kernels.architectures import KernelRequest
from danet_export.ops.operator_parity import compare_operators
from danet_runtime.bundle import (
    BundleWriter,
    FileRef,
    FrameSpec,
    Golden,
    GoldenOrigin,
    Kernel,
    Lowerings,
    Manifest,
    ModelSpec,
    Normalisation,
    Precision,
    Provenance,
    SegmentationClass,
    Variant,
    write_bundle,
)
from danet_runtime.bundle.golden import stored_shape
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_bgr, to_pixel_format
from danet_train.checkpoint import Checkpoint
from danet_train.classes import ClassTable
from danet_train.quantisation.trained_scales import write_trained_scales

_log = logging.getLogger(__name__)

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16}
TOOLS = ("danet-export", "torch", "onnx", "onnxsim", "onnxruntime")

Step = Callable[[str], None]


@dataclass(frozen=True)
class ExportSettings:
    """Settings of an export.

    Attributes:
        kernels: Architectures and type of the kernels to compile; None for no kernels.
        golden_origin: Origin of the compared frames: the user's own, or drawn ones.
        overwrite: Whether an existing bundle may be replaced.
    """

    kernels: KernelRequest | None = None
    golden_origin: GoldenOrigin = "frames"
    overwrite: bool = False


def export_bundle(
    checkpoint: Checkpoint,
    classes: ClassTable,
    geometry: Geometry,
    frames: Callable[[tuple[int, int]], Sequence[UInt8Array]],
    path: Path,
    *,
    settings: ExportSettings | None = None,
    step: Step = _log.info,
) -> Manifest:
    """Write the bundle of a checkpoint.

    Args:
        checkpoint: The trained network, with its normalisation.
        classes: Names and colors, one for each channel of the logits.
        geometry: The sizes.
        frames: Returns the frames to compare on, (H, W, 3) BGR of the given size. The first at full size
            becomes the golden frame.
        path: Folder of the new bundle.
        settings: Settings; None for the defaults.
        step: Called with the name of the next step.

    Raises:
        ExportError: The classes do not fit the network, a kernel cannot be compiled, the ONNX tools changed
            the model, or it has no place for a trained scale.
        ParityError: The exported files do not agree with PyTorch; nothing is written.
        MissingDependencyError: Kernels are asked for, and Triton is not installed.
    """
    settings = settings or ExportSettings()
    _check_classes(checkpoint, classes)
    with write_bundle(path, overwrite=settings.overwrite) as writer:
        # First: what cannot be compiled is known in seconds, and the proof takes minutes.
        compiled = _compile(settings.kernels, checkpoint, geometry, writer, step)
        models: dict[Precision, onnx.ModelProto] = {}
        for precision in DTYPES:
            step(f"export {precision}")
            models[precision] = _export(checkpoint, geometry, precision)
            write_metadata(models[precision], describe(classes, geometry))
        step("compare with PyTorch")
        parity_ref, golden = _prove(checkpoint, geometry, models, frames, settings.golden_origin, writer)
        manifest = Manifest(
            frame=frame_spec(geometry),
            model=ModelSpec(
                architecture=checkpoint.model.config.model_dump(),
                parameters=sum(parameter.numel() for parameter in checkpoint.model.parameters()),
                size_hw=geometry.model_hw,
                fit=geometry.fit,
                align_corners=geometry.align_corners,
                tokens=geometry.tokens,
            ),
            normalisation=Normalisation(
                mean_rgb=checkpoint.normalisation.mean, std_rgb=checkpoint.normalisation.std
            ),
            classes=tuple(
                SegmentationClass(name=name, color=color)
                for name, color in zip(classes.names, classes.colors, strict=True)
            ),
            variants={
                precision: Variant(
                    file=writer.add(f"model.{precision}.onnx", model.SerializeToString()), opset=OPSET
                )
                for precision, model in models.items()
            },
            kernels=compiled,
            lowerings=Lowerings(native=writer.add("lowerings/native.onnx", _native(checkpoint, geometry))),
            golden=golden,
            reports={"parity": parity_ref},
            trained_scales=_carry_scales(checkpoint, models, writer),
            provenance=Provenance(
                created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                tools={name: version(name) for name in (*TOOLS, *(("triton",) if settings.kernels else ()))},
                checkpoint_sha256=checkpoint.sha256,
            ),
        )
        step("write the bundle")
        writer.finish(manifest)
    return manifest


def frame_spec(geometry: Geometry) -> FrameSpec:
    """Return the frame's entry in the manifest."""
    pixels = geometry.pixels
    return FrameSpec(
        size_hw=geometry.frame_hw, pixel_format=pixels.format, color=pixels.color, range=pixels.range
    )


def _check_classes(checkpoint: Checkpoint, classes: ClassTable) -> None:
    expected = checkpoint.model.config.num_classes
    if len(classes.names) != expected:
        raise ExportError(
            f"the network has {expected} classes, the class table {len(classes.names)}; name its own with "
            "--classes"
        )


def _export(checkpoint: Checkpoint, geometry: Geometry, precision: Precision) -> onnx.ModelProto:
    mean_rgb, std_rgb = checkpoint.normalisation.mean, checkpoint.normalisation.std
    return to_onnx(ExportedDANet(checkpoint.model, geometry, mean_rgb, std_rgb, DTYPES[precision]), geometry)


def _native(checkpoint: Checkpoint, geometry: Geometry) -> bytes:
    return native_functions(operator_sizes(checkpoint.model.config, geometry))


def _carry_scales(
    checkpoint: Checkpoint, models: dict[Precision, onnx.ModelProto], writer: BundleWriter
) -> FileRef | None:
    if checkpoint.scales is None:
        return None
    scales, *others = (locate_scales(model, checkpoint.model, checkpoint.scales) for model in models.values())
    if any(other != scales for other in others):
        raise ExportError("the nodes that read quantised tensors are named differently in the FP16 file")
    return writer.add("trained_scales.json", write_trained_scales(scales))


def _compile(
    request: KernelRequest | None,
    checkpoint: Checkpoint,
    geometry: Geometry,
    writer: BundleWriter,
    step: Step,
) -> tuple[Kernel, ...]:
    if request is None:
        return ()
    from danet_export.kernels.bundle_kernels import write_kernels  # imports Triton

    config = checkpoint.model.config
    sizes = operator_sizes(config, geometry)
    problem = {operator: sizes[operator] for operator in held_operators(config)}
    return tuple(write_kernels(request, problem, writer, step))


def _prove(
    checkpoint: Checkpoint,
    geometry: Geometry,
    models: dict[Precision, onnx.ModelProto],
    frames: Callable[[tuple[int, int]], Sequence[UInt8Array]],
    golden_origin: GoldenOrigin,
    writer: BundleWriter,
) -> tuple[FileRef, Golden]:
    """Compare the files with PyTorch, and write the report and the golden frame.

    Frames of another format than BGR are made from the BGR ones; PyTorch gets them converted back by OpenCV,
    so that the conversion inside the file is compared as well.

    The golden frame is always of the bundle's own size; its labels come from PyTorch at that size, in slices
    of the attention where the whole map would not fit (see :class:`TorchReference`).
    """
    small = parity.parity_geometry(geometry)
    mean_rgb, std_rgb = checkpoint.normalisation.mean, checkpoint.normalisation.std
    samples = [to_pixel_format(frame, geometry.pixels) for frame in frames(small.frame_hw)]
    reference = TorchReference(checkpoint.model, small, mean_rgb, std_rgb)
    expected = [reference(to_bgr(frame, geometry.pixels)) for frame in samples]
    results = []
    for precision, model in models.items():
        compared = model if small == geometry else _export(checkpoint, small, precision)
        results.append(parity.compare_frames(precision, compared, expected, samples, small.model_hw))
    for result in results:
        parity.require_agreement(result)
    operators = [row for precision, model in models.items() for row in compare_operators(precision, model)]
    report = parity.report(geometry, results, operators)
    if small == geometry:
        golden_frame, golden_labels = samples[0], expected[0]
    else:
        golden_frame = to_pixel_format(frames(geometry.frame_hw)[0], geometry.pixels)
        reference = TorchReference(checkpoint.model, geometry, mean_rgb, std_rgb)
        golden_labels = reference(to_bgr(golden_frame, geometry.pixels))
    stored = golden_frame.reshape(stored_shape(frame_spec(geometry)))
    golden = Golden(
        frame=writer.add("golden/frame.png", encode_png(stored)),
        labels=writer.add("golden/labels.png", encode_png(golden_labels)),
        agreement=parity.REQUIRED_AGREEMENT,
        origin=golden_origin,
    )
    _log.info("parity %s", [asdict(result) for result in results])
    return writer.add("reports/parity.json", (json.dumps(report, indent=2) + "\n").encode()), golden


def encode_png(image: UInt8Array) -> bytes:
    """Encode an (H, W) or (H, W, 3) image as PNG."""
    good, data = cv2.imencode(".png", image)
    if not good:
        raise ExportError(f"OpenCV could not write a PNG of shape {image.shape}")
    return data.tobytes()
