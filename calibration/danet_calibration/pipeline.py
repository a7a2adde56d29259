"""Calibration: writes a bundle with an INT8 variant and the measured accuracy of every variant.

The steps, each in its own module: the range of FP16 (``fp16.base``), the golden frame (``golden_choice``),
the scales (``scale_choice``), the INT8 file (``drafts``), the gate with its mixed-precision search
(``mixed_precision``, ``verdict``);
this module runs them in order, with the checks before, and manifest and reports after.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from danet_calibration.errors import CalibrationError
from danet_calibration.fp16.base import measure_and_mend, require_mended, write_base
from danet_calibration.gate.gate import find_guard
from danet_calibration.gate.mixed_precision import (
    LabelledGate,
    Outcome,
    gate_by_agreement,
    require_evidence,
    run_gate,
)
from danet_calibration.gate.rules import GateRules
from danet_calibration.images.class_coverage import ClassCoverage, class_coverage
from danet_calibration.images.images import CalibrationSet, manifest_frames
from danet_calibration.images.set_labels import labelled_frames
from danet_calibration.int8.coverage import Coverage, require_coverage
from danet_calibration.int8.drafts import Drafts
from danet_calibration.int8.judges import AccuracyJudge, AgreementJudge, Judge
from danet_calibration.int8.ranges.methods import MethodChoice
from danet_calibration.int8.scale_choice import ScaleChoice, ScaleMaterial, choose_scales
from danet_calibration.measure.accuracy import (
    Agreement,
    LabelledSet,
    Step,
    measure_agreement,
    named_as_in,
    require_classes,
)
from danet_calibration.measure.golden_choice import put_golden
from danet_calibration.measure.overlap import Overlap, find_overlap, require_apart
from danet_runtime.bundle import (
    Accuracy,
    Bundle,
    BundleWriter,
    CalibrationFrame,
    Manifest,
    Precision,
    Provenance,
    Quantisation,
    Variant,
    write_bundle,
)
from danet_runtime.errors import UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_train.quantisation.trained_scales import read_trained_scales

AGREEMENT_FRAMES = 16
"""Largest number of frames on which INT8 is compared with FP32, for a figure without labels too."""


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of a calibration.

    Attributes:
        method: Calibration method.
        rules: Limits of the accuracy gate.
        range_frames: Number of frames on which the range of FP16 is measured; 0: it is not; None: by the
            model's size.
        classes: Class table of the calibration frames' data set, as
            :func:`danet_train.data.datasets.layouts.open_dataset` takes it, where its folder has none.
        reference: Bundle whose FP32 file the gate compares INT8 with, instead of the calibrated bundle's.
        allow_overlap: Whether labelled frames may be among those of the calibration.
    """

    method: MethodChoice = "auto"
    rules: GateRules = field(default_factory=GateRules)
    range_frames: int | None = None
    reference: Bundle | None = None
    classes: str | None = None
    allow_overlap: bool = False


def calibrate_bundle(
    source: Bundle,
    images: CalibrationSet,
    labelled: LabelledSet | None,
    path: Path,
    *,
    settings: CalibrationSettings | None = None,
    overwrite: bool = False,
    step: Step = lambda _what, _done, _of: None,
) -> Manifest:
    """Write a new bundle with an INT8 variant beside the variants of ``source``.

    Args:
        source: Holds an FP32 and an FP16 variant.
        images: Calibration images, best with some held out to compare on.
        labelled: Labelled images for the accuracy gate; without them no accuracy is measured, and the
            agreement of INT8 with FP32 decides.
        path: Folder of the new bundle.
        settings: Settings; None for the defaults.
        overwrite: Whether a bundle at ``path`` may be replaced.
        step: Called with the name of a step, the parts done and the number of parts.

    Raises:
        CalibrationError: The model cannot be quantised, or the labelled images are of other classes.
        CalibrationSetError: Labelled frames are among those of the calibration.
        GateError: Too little of the model runs on INT8, or the gate cannot hold or be measured; the error
            carries the verdict, and nothing is written.
        IntegrityError: A file of ``source`` is not the one that was written.
        UsageError: ``source`` lacks a variant or a guarded class, or ``path`` would replace it.
    """
    settings = settings or CalibrationSettings()
    require_calibratable(source, labelled, path, settings.rules)
    step("read the bundle", 0, 0)
    source.verify()
    overlap = Overlap()
    if labelled is not None:
        labelled = named_as_in(source, labelled)
        overlap = find_overlap(images, labelled, lambda done, of: step("compare the frames", done, of))
        if not settings.allow_overlap:
            require_apart(overlap)
        require_evidence(source, labelled, settings.rules, step)
    classes = class_coverage(
        source,
        images,
        classes=settings.classes,
        progress=lambda done, of: step("look for classes", done, of),
    )
    safe = measure_and_mend(source, images, settings.range_frames, step)
    compared, origin = _compared_frames(images, source.manifest.frame.size_hw)
    fp32 = source.read(source.variant("fp32").file)
    names = tuple(entry.name for entry in source.manifest.classes)

    def judge() -> Judge:
        pixels = source.manifest.frame.pixels
        apart = labelled_frames(images.held_out, names, settings.classes) if images.held_out else None
        if apart is not None:
            return AccuracyJudge(apart, "the held-out frames", pixels)
        return AgreementJudge(fp32, compared, origin, pixels)

    base_model = safe.model if safe else source.read(source.variant("fp16").file)
    trained = source.manifest.trained_scales
    choice = choose_scales(
        ScaleMaterial(
            fp32=fp32,
            base=base_model,
            images=images,
            frame=source.manifest.frame,
            trained=read_trained_scales(source.read(trained)) if trained else None,
        ),
        settings.method,
        judge,
        step,
    )
    with write_bundle(path, overwrite=overwrite) as writer:
        base = put_golden(write_base(source, safe, writer), images, writer, step)
        require_mended(base, safe)
        drafts = Drafts(base, writer, choice.inputs, _recipe(images, choice))
        everywhere = drafts.write()
        require_coverage(everywhere.coverage)

        def agreement_of(bundle: Bundle) -> Agreement:
            step("compare INT8 with FP32", 0, 0)
            share = measure_agreement(bundle, "int8", "fp32", compared)
            return Agreement(share, len(compared), origin)

        if labelled is None:
            agreement = agreement_of(everywhere.bundle)
            outcome = gate_by_agreement(everywhere, settings.rules, agreement)
        else:
            asked = LabelledGate(labelled, settings.rules, settings.reference, overlap)
            outcome = run_gate(base, drafts, everywhere, asked, step)
            agreement = agreement_of(outcome.trial.draft.bundle)
        reports = {
            "calibration": {
                **_report_images(images, classes),
                **choice.report(),
                **_report_coverage(outcome.trial.draft.coverage),
                "model_bytes": outcome.trial.draft.variant.file.bytes,
                "golden_agreement_int8": outcome.trial.golden,
                "golden_origin": base.manifest.golden.origin,
                **agreement.to_json(),
                **outcome.verdict.to_json(),
            },
            "fp16_range": safe.report() if safe else {"measured": False},
        }
        manifest = _manifest(base, source, outcome, agreement, writer, reports)
        writer.finish(manifest)
    return manifest


def _compared_frames(images: CalibrationSet, size_hw: tuple[int, int]) -> tuple[list[UInt8Array], str]:
    """Return the frames on which INT8 is compared with FP32, (H, W, 3) BGR each, and their name."""
    apart = images.held_out
    chosen, origin = (apart, "the held-out frames") if apart else (images, "the calibration frames")
    return list(itertools.islice(chosen.frames(size_hw), AGREEMENT_FRAMES)), origin


def _recipe(images: CalibrationSet, choice: ScaleChoice) -> Quantisation:
    """Return the manifest's entry, without the counts of each draft and the result of the gate."""
    return Quantisation(
        method=f"modelopt {version('nvidia-modelopt')} {choice.method}",
        calibration_frames=len(images.files),
        calibration_sha256=images.sha256,
        conv_mac_share_int8=0.0,
        quantize_nodes=1,
        frames=tuple(CalibrationFrame(path=name, sha256=sha256) for name, sha256 in manifest_frames(images)),
    )


def _manifest(
    base: Bundle,
    source: Bundle,
    outcome: Outcome,
    agreement: Agreement,
    writer: BundleWriter,
    reports: dict[str, dict[str, Any]],
) -> Manifest:
    old = base.manifest
    variants: dict[Precision, Variant] = {
        **{name: _measured(held, outcome.accuracies.get(name)) for name, held in old.variants.items()},
        "int8": _measured(_gated(outcome, agreement), outcome.accuracies.get("int8")),
    }
    written = {name: writer.add(f"reports/{name}.json", _json(content)) for name, content in reports.items()}
    provenance = Provenance(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tools={**old.provenance.tools, "nvidia-modelopt": version("nvidia-modelopt")},
        checkpoint_sha256=old.provenance.checkpoint_sha256,
        parent_sha256=source.sha256,
    )
    return old.model_copy(
        update={"variants": variants, "reports": {**old.reports, **written}, "provenance": provenance}
    )


def _gated(outcome: Outcome, agreement: Agreement) -> Variant:
    variant, verdict = outcome.trial.draft.variant, outcome.verdict
    found = {
        "gate": verdict.gate,
        "gate_measured": verdict.measured,
        "gate_unmeasured": verdict.unmeasured,
        "gate_overlap": len(verdict.overlap.frames),
        "agreement": agreement.share,
        "agreement_of": f"{agreement.frames} of {agreement.origin}",
    }
    held = variant.quantisation
    return variant.model_copy(update={"quantisation": held.model_copy(update=found) if held else None})


def _measured(variant: Variant, accuracy: Accuracy | None) -> Variant:
    return variant.model_copy(update={"accuracy": accuracy}) if accuracy else variant


def _report_images(images: CalibrationSet, classes: ClassCoverage) -> dict[str, Any]:
    return {
        "coverage": images.coverage.to_json(),
        "class_coverage": classes.to_json(),
        "images_found": images.found,
        "images_used": [name for name, _ in manifest_frames(images)],
        "images_sha256": images.sha256,
    }


def _report_coverage(coverage: Coverage) -> dict[str, Any]:
    return {
        "conv_macs": coverage.total_macs,
        "conv_macs_int8": coverage.int8_macs,
        "conv_mac_share_int8": coverage.share,
        "convolutions_in_floating_point": coverage.float_convolutions,
        "quantize_nodes": coverage.quantize_nodes,
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def require_calibratable(
    source: Bundle, labelled: LabelledSet | None, path: Path, rules: GateRules | None = None
) -> None:
    """Refuse a request that must fail, before anything long begins.

    Raises:
        CalibrationError: ``source`` has an INT8 variant already or asks no agreement of one, or the labelled
            images are of other classes.
        UsageError: ``source`` lacks FP32, FP16 or a class to guard, or lies where the new bundle would go.
    """
    require_variants(source)
    if source.path.resolve().is_relative_to(path.resolve()):
        raise UsageError(f"{path} would replace the bundle that is calibrated; give another path")
    if "int8" not in source.manifest.golden.agreement:
        raise CalibrationError(
            f"{source.path} does not say how far INT8 must agree with its golden frame; export it again"
        )
    find_guard(rules or GateRules(), [entry.name for entry in source.manifest.classes])
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
