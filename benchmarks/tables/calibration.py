"""The README's figures of INT8: accuracy, the calibration's own cost, and the engines."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.tables import engines
from benchmarks.tables.text import Document, beside, machine, markdown, percent, prose, read


def mixed_precision(document: Document, training: Document | None) -> str:
    """The candidates on CamVid, their accuracy by class, and what the calibration found on its way."""
    candidates = document["candidates"]
    rows = [
        ["model file, MiB", *(f"{one['mib']:.1f}" for one in candidates)],
        [
            "convolution MACs on INT8",
            *(f"{one['conv_mac_share_int8']:.1%}" for one in candidates),
        ],
        ["gate", *(one["gate"] for one in candidates)],
        ["computed in, on this CPU", *(one["computed_in"] for one in candidates)],
        ["points of mIoU lost, 95 % interval", *(_lost(one) for one in candidates)],
    ]
    rows += [
        [name, *(percent(one["class_iou"][name]) for one in candidates)]
        for name, value in (candidates[0]["class_iou"] or {}).items()
        if value is not None
    ]
    rows.append(["**mIoU**", *(f"**{percent(one['miou'])}**" for one in candidates)])
    frames = document["calibration_frames"]
    intro = f"DANet-R18 of {document['size']}, calibrated on {frames} frames of CamVid's train"
    if training:
        minutes = training["training_seconds"] / 60
        intro += (
            f" split, on which it was trained for {training['steps']} steps ({minutes:.0f} minutes; "
            "`danet train --data DATA --classes camvid --config camvid_r18_small "
            f"--steps {training['steps']}`)"
        )
    else:
        intro += " split"
    intro += (
        ". Measured on its val split through each exported file; IoU in percent "
        f"(`python -m benchmarks.calibration.camvid_mixed_precision CHECKPOINT DATA --count {frames}`):"
    )
    parts = [prose(intro), markdown(["", *(one["name"] for one in candidates)], rows)]
    if "method_scores" in document:
        parts.append(prose(_calibration(document)))
    return "\n\n".join(parts)


def _lost(candidate: Document) -> str:
    """Points lost against FP32, and the interval that other frames of the kind would give."""
    interval = candidate["miou_drop_interval"]
    lost = f"{candidate['miou_drop_points']:.2f}"
    return (
        f"{lost} ({interval[0]:.2f} to {interval[1]:.2f})" if interval and interval[0] < interval[1] else lost
    )


def _calibration(document: Document) -> str:
    """The figures of the calibration itself, in sentences."""
    held = f" for mIoU, {', '.join(document['measured'])}" if document["gate"] == "passed" else ""
    sentences = [f"The gate: {document['gate']}{held} ({document['reason']})."]
    absent = [*document["rules"]["not_in_bundle"], *document["not_measured"]]
    if absent:
        sentences.append(
            f"CamVid has no, or too few, pixels of {', '.join(absent)}, which it guards elsewhere."
        )
    near = [
        remark for candidate in document["candidates"][:1] for remark in candidate["near_the_limit"] or ()
    ]
    sentences += [f"{remark}." for remark in near]
    if document["method_scores"]:
        scores = ", ".join(f"{name} {100 * value:.2f}" for name, value in document["method_scores"].items())
        sentences.append(
            f"Methods, by {document['methods_compared_by']}: {scores} (on frames of the split that it was "
            f"trained on); taken: {document['method']}."
        )
    if document["convergence"]:
        moved = ", ".join(
            f"{100 * row['median_change']:.1f} %, and the one that moves most by "
            f"{100 * row['worst_change']:.1f} %, from {row['frames']} to {row['next_frames']} frames"
            for row in document["convergence"]
        )
        sentences.append(f"The scales ({document['convergence_method']}) move by a median of {moved}.")
    found = document.get("fp16_range", {})
    if "attention" in found:
        energies = " and ".join(
            f"{item['largest']:.4g} |{item['product']}| ({item['share_of_fp16']:.0%} of 65504)"
            for item in found["attention"]
        )
        kept = ", ".join(found["kept_fp32"]) or "nothing"
        sentences.append(
            f"FP16's range on {found['frames']} frames: energies of {energies}, both FP32 in the file; "
            f"{found['nonfinite_when_rounded']} values not finite after rounding each of "
            f"{found['tensors_fp16']} FP16 tensors; kept in FP32: {kept}."
        )
    return " ".join(sentences)


def agreement(document: Document) -> str:
    """INT8 against FP32 on real frames."""
    runs = document["calibrated_on"]
    drawn, real = runs["drawn scenes"], runs["these frames"]
    return prose(
        f"On {drawn['frames_compared']} real Cityscapes frames the demo's model, which was trained on drawn "
        f"scenes alone, gives FP32's label in INT8 to {drawn['agreement']['overall']:.1%} of the pixels when "
        f"it is calibrated on drawn scenes, and to {real['agreement']['overall']:.1%} when it is calibrated "
        "on those frames (`python -m benchmarks.calibration.cityscapes_agreement`). That is agreement, not "
        "accuracy."
    )


def memory(document: Document) -> str:
    """Peak memory at two numbers of frames."""
    peaks = {int(count): values for count, values in document["peak_bytes"]["calibrate"].items()}
    by_frames = " and ".join(
        f"{statistics.median(peaks[count]) / 2**20:.0f} MiB at {count}" for count in sorted(peaks)
    )
    return prose(
        f"Calibration reads frames one by one: its peak memory is {by_frames} frames ({document['model']}, "
        f"{document['method']}; median of {len(next(iter(peaks.values())))}; "
        "`python -m benchmarks.calibration.memory`)."
    )


def cost(document: Document) -> str:
    """Time and memory of one calibration of the full model."""
    return prose(
        f"Calibrating {document['model']}, on {document['frames']} frames, with "
        f"{document['held_out_frames']} held out to compare on and {document['range_frames']} for FP16's "
        f"range: {document['seconds'] / 60:.0f} minutes "
        f"on {machine(document)}{beside(document)}; {document['cpu_seconds'] / 60:.1f} minutes of CPU time, "
        f"{document['peak_bytes'] / 2**30:.1f} GiB at most (`python -m benchmarks.calibration.cost`)."
    )


def block(results: Path) -> str:
    """The text between the markers, from the results that are there."""
    training = read(results, "camvid_training")
    makers: dict[str, Callable[[Document], str]] = {
        "camvid_mixed_precision": lambda document: mixed_precision(document, training),
        "cityscapes_agreement": agreement,
        "calibration_memory": memory,
        "calibration_cost": cost,
        "rtx_engines": engines.engines,
        "rtx_int8_memory": engines.engine_memory,
    }
    return "\n\n".join(
        make(found) for name, make in makers.items() if (found := read(results, name)) is not None
    )
