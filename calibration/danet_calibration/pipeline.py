"""Bundle and images to a bundle with an INT8 variant and the measured accuracy of every variant."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from danet_calibration.accuracy import (
    measure_accuracy,
    measure_agreement,
    measure_golden,
    require_classes,
    require_golden,
)
from danet_calibration.coverage import Coverage, measure_coverage, require_coverage
from danet_calibration.errors import CalibrationError
from danet_calibration.images import CalibrationSet, FrameReader
from danet_calibration.placement import quantise
from danet_calibration.scales import CalibrationMethod, find_scales
from danet_runtime.bundle import (
    Accuracy,
    Bundle,
    FileRef,
    Manifest,
    Precision,
    Provenance,
    Quantisation,
    Variant,
    write_bundle,
)
from danet_runtime.errors import UsageError
from danet_train.data.sample import Dataset

AGREEMENT_FRAMES = 16
"""Calibration frames on which INT8 is compared with FP32, so that a figure exists without labels too."""

Step = Callable[[str, int, int], None]
"""Is told what is being done, and how many of how many images of it are done (0 of 0: unknown)."""


@dataclass(frozen=True)
class LabelledSet:
    """Labelled images, and what to call them in the manifest."""

    name: str
    dataset: Dataset


def calibrate_bundle(
    source: Bundle,
    images: CalibrationSet,
    method: CalibrationMethod,
    labelled: LabelledSet | None,
    path: Path,
    *,
    overwrite: bool = False,
    step: Step = lambda _what, _done, _of: None,
) -> Manifest:
    """Write a new bundle with an INT8 variant beside the variants of ``source``.

    Args:
        source: Holds an FP32 and an FP16 variant.
        images: To calibrate on.
        method: How a tensor's range is found.
        labelled: To measure the accuracy on; none is measured without it.
        path: Where the new bundle goes.
        overwrite: Whether a bundle there may be replaced.
        step: Is told how far it is.

    Raises:
        CalibrationError: The model cannot be quantised, or the labelled images are of other classes.
        GateError: Too little of it runs on INT8, or it fails on the golden frame; nothing is written.
        IntegrityError: A file of ``source`` is not the one that was written.
        UsageError: ``source`` lacks a variant, or ``path`` would replace it.
    """
    require_calibratable(source, labelled, path)
    step("read the bundle", 0, 0)
    source.verify()
    size_hw = source.manifest.frame.size_hw
    step(f"calibrate on {len(images.files)} images ({method})", 0, 0)
    inputs = find_scales(source.read(source.variant("fp32").file), FrameReader(images, size_hw), method)
    base = source.variant("fp16")
    model = quantise(source.read(base.file), inputs)
    coverage = measure_coverage(model)
    require_coverage(coverage)
    with write_bundle(path, overwrite=overwrite) as writer:
        for ref in source.manifest.files():
            writer.copy(source, ref)
        file = writer.add("model.int8.onnx", model.SerializeToString())
        variant = Variant(
            file=file,
            opset=base.opset,
            quantisation=Quantisation(
                method=f"modelopt {version('nvidia-modelopt')} {method}",
                calibration_frames=len(images.files),
                calibration_sha256=images.sha256,
                conv_mac_share_int8=coverage.share,
                quantize_nodes=coverage.quantize_nodes,
            ),
        )
        draft = _with(source, {**source.manifest.variants, "int8": variant}, source.manifest.reports)
        preview = writer.preview(draft)
        step("label the golden frame", 0, 0)
        golden = measure_golden(preview, "int8")
        require_golden(preview, "int8", golden)
        accuracies = _measure(preview, labelled, step)
        step("compare INT8 with FP32", 0, 0)
        frames = list(itertools.islice(images.frames(size_hw), AGREEMENT_FRAMES))
        agreement = measure_agreement(preview, "int8", "fp32", frames)
        report = _report(images, method, coverage, golden, agreement, len(frames), model)
        reports = {
            **source.manifest.reports,
            "calibration": writer.add("reports/calibration.json", _json(report)),
        }
        variants = {
            precision: held.model_copy(update={"accuracy": accuracies.get(precision, held.accuracy)})
            for precision, held in draft.variants.items()
        }
        manifest = _with(source, variants, reports)
        writer.finish(manifest)
    return manifest


def _with(source: Bundle, variants: dict[Precision, Variant], reports: dict[str, FileRef]) -> Manifest:
    old = source.manifest
    provenance = Provenance(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tools={**old.provenance.tools, "nvidia-modelopt": version("nvidia-modelopt")},
        checkpoint_sha256=old.provenance.checkpoint_sha256,
        parent_sha256=source.sha256,
    )
    return old.model_copy(update={"variants": variants, "reports": reports, "provenance": provenance})


def _measure(bundle: Bundle, labelled: LabelledSet | None, step: Step) -> dict[Precision, Accuracy]:
    if labelled is None:
        return {}
    return {
        precision: measure_accuracy(
            bundle,
            precision,
            labelled.dataset,
            labelled.name,
            lambda done, of, precision=precision: step(f"measure {precision}", done, of),  # type: ignore[misc]
        )
        for precision in bundle.manifest.variants
    }


def _report(
    images: CalibrationSet,
    method: CalibrationMethod,
    coverage: Coverage,
    golden: float,
    agreement: float,
    frames: int,
    model: onnx.ModelProto,
) -> dict[str, Any]:
    return {
        "method": method,
        "images_found": images.found,
        "images_used": [file.relative_to(images.folder).as_posix() for file in images.files],
        "images_sha256": images.sha256,
        "conv_macs": coverage.total_macs,
        "conv_macs_int8": coverage.int8_macs,
        "conv_mac_share_int8": coverage.share,
        "convolutions_in_floating_point": coverage.float_convolutions,
        "quantize_nodes": coverage.quantize_nodes,
        "model_bytes": model.ByteSize(),
        "golden_agreement_int8": golden,
        "label_agreement_int8_fp32": agreement,
        "label_agreement_frames": frames,
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def require_calibratable(source: Bundle, labelled: LabelledSet | None, path: Path) -> None:
    """Refuse a request that cannot end well, before anything long begins.

    Raises:
        CalibrationError: ``source`` has an INT8 variant already or asks no agreement of one, or the labelled
            images are of other classes.
        UsageError: ``source`` lacks FP32 or FP16, or lies where the new bundle would go.
    """
    require_variants(source)
    if source.path.resolve().is_relative_to(path.resolve()):
        raise UsageError(f"{path} would replace the bundle that is calibrated; give another path")
    if "int8" not in source.manifest.golden.agreement:
        raise CalibrationError(
            f"{source.path} does not say how far INT8 must agree with its golden frame; export it again"
        )
    if labelled is not None:
        require_classes(source, labelled.dataset, labelled.name)


def require_variants(bundle: Bundle) -> None:
    """Refuse a bundle that cannot be calibrated.

    Raises:
        CalibrationError: It has an INT8 variant already.
        UsageError: It lacks FP32 or FP16.
    """
    if "int8" in bundle.manifest.variants:
        raise CalibrationError(
            f"{bundle.path} has an int8 variant already; calibrate the bundle that `danet export` wrote"
        )
    for precision in ("fp32", "fp16"):
        bundle.variant(precision)
