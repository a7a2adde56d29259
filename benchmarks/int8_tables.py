"""The README's figures of INT8, made from the JSON files that the benchmarks wrote; needs no GPU.

python benchmarks/int8_tables.py [--check]

Rewrites the block between two markers in README.md; with --check says whether it is what would be written,
and exits 1 where it is not. What was not measured yet is left out.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from readme_table import keep_readme, markdown

RESULTS = Path(__file__).resolve().parent / "results"
MARKERS = (
    "<!-- made by benchmarks/int8_tables.py: begin -->",
    "<!-- made by benchmarks/int8_tables.py: end -->",
)
WIDTH = 115

Document = Mapping[str, Any]


def prose(text: str) -> str:
    """A paragraph, wrapped."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def mib(size: float) -> str:
    return f"{size / 2**20:.1f}"


def machine(document: Document) -> str:
    held = document["machine"]
    return f"{held['cpu_count']} cores of an {held['cpu'].replace('(R)', '').replace(' Processor', '')}"


def ladder(document: Document, training: Document | None) -> str:
    """The rungs on CamVid, their accuracy by class, and what the calibration found on its way."""
    rungs = document["ladder"]
    rows = [
        ["model file, MiB", *(f"{rung['mib']:.1f}" for rung in rungs)],
        ["convolution MACs on INT8", *(f"{rung['conv_mac_share_int8']:.1%}" for rung in rungs)],
        ["gate", *(rung["gate"] for rung in rungs)],
        ["computed in, on this CPU", *(rung["computed_in"] for rung in rungs)],
        ["points of mIoU lost, 95 % interval", *(_drop(rung) for rung in rungs)],
    ]
    rows += [
        [name, *(percent(rung["class_iou"][name]) for rung in rungs)]
        for name, value in (rungs[0]["class_iou"] or {}).items()
        if value is not None
    ]
    rows.append(["**mIoU**", *(f"**{percent(rung['miou'])}**" for rung in rungs)])
    frames = document["calibration_frames"]
    told = f"DANet-R18 of {document['size']}, calibrated on {frames} frames of CamVid's train"
    if training:
        minutes = training["training_seconds"] / 60
        told += (
            f" split, on which it was trained for {training['steps']} steps ({minutes:.0f} minutes; "
            "`danet train --data DATA --classes camvid --config camvid_r18_small "
            f"--steps {training['steps']}`)"
        )
    else:
        told += " split"
    told += (
        ". Measured on its val split through each exported file; IoU in percent "
        f"(`python benchmarks/camvid_ladder.py CHECKPOINT DATA --count {frames}`):"
    )
    parts = [prose(told), markdown(["", *(rung["name"] for rung in rungs)], rows)]
    if "method_scores" in document:
        parts.append(prose(_calibration(document)))
    return "\n\n".join(parts)


def _drop(rung: Document) -> str:
    """Points lost against FP32, and the interval that other frames of the kind would give."""
    interval = rung["miou_drop_interval"]
    lost = f"{rung['miou_drop_points']:.2f}"
    return (
        f"{lost} ({interval[0]:.2f} to {interval[1]:.2f})" if interval and interval[0] < interval[1] else lost
    )


def _calibration(document: Document) -> str:
    """What the calibration itself says, in sentences."""
    held = f" for mIoU, {', '.join(document['measured'])}" if document["gate"] == "passed" else ""
    said = [f"The gate: {document['gate']}{held} ({document['reason']})."]
    absent = [*document["rules"]["not_in_bundle"], *document["not_measured"]]
    if absent:
        said.append(f"CamVid has no, or too few, pixels of {', '.join(absent)}, which it guards elsewhere.")
    near = [told for rung in document["ladder"][:1] for told in rung["near_the_limit"] or ()]
    said += [f"{told}." for told in near]
    if document["method_scores"]:
        scores = ", ".join(f"{name} {100 * value:.2f}" for name, value in document["method_scores"].items())
        said.append(
            f"Methods, by {document['methods_compared_by']}: {scores} (on frames of the split that it was "
            f"trained on); taken: {document['method']}."
        )
    if document["convergence"]:
        moved = ", ".join(
            f"{100 * row['median_change']:.1f} %, and the one that moves most by "
            f"{100 * row['worst_change']:.1f} %, from {row['frames']} to {row['next_frames']} frames"
            for row in document["convergence"]
        )
        said.append(f"The scales ({document['convergence_method']}) move by a median of {moved}.")
    found = document.get("fp16_range", {})
    if "attention" in found:
        energies = " and ".join(
            f"{item['largest']:.4g} |{item['product']}| ({item['share_of_fp16']:.0%} of 65504)"
            for item in found["attention"]
        )
        kept = ", ".join(found["kept_fp32"]) or "nothing"
        said.append(
            f"FP16's range on {found['frames']} frames: energies of {energies}, both FP32 in the file; "
            f"{found['nonfinite_when_rounded']} values not finite after rounding each of "
            f"{found['tensors_fp16']} FP16 tensors; kept in FP32: {kept}."
        )
    return " ".join(said)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def agreement(document: Document) -> str:
    """INT8 against FP32 on real frames."""
    runs = document["calibrated_on"]
    drawn, real = runs["drawn scenes"], runs["these frames"]
    return prose(
        f"On {drawn['frames_compared']} real Cityscapes frames the demo's model, which was trained on drawn "
        f"scenes alone, gives FP32's label in INT8 to {drawn['agreement']['overall']:.1%} of the pixels when "
        f"it is calibrated on drawn scenes, and to {real['agreement']['overall']:.1%} when it is calibrated "
        "on those frames (`python benchmarks/cityscapes_agreement.py`). That is agreement, not accuracy."
    )


def memory(document: Document) -> str:
    """Peak memory at two numbers of frames."""
    peaks = {int(count): values for count, values in document["peak_bytes"]["calibrate"].items()}
    told = " and ".join(
        f"{statistics.median(peaks[count]) / 2**20:.0f} MiB at {count}" for count in sorted(peaks)
    )
    return prose(
        f"Calibration reads frames one by one: its peak memory is {told} frames ({document['model']}, "
        f"{document['method']}; median of {len(next(iter(peaks.values())))}; "
        "`python benchmarks/calibration_memory.py`)."
    )


def cost(document: Document) -> str:
    """Time and memory of one calibration of the full model."""
    load = document["load_average_at_start"][0]
    beside = f", other work beside it, load {load:.0f}" if load > 1 else ""
    return prose(
        f"Calibrating {document['model']}, on {document['frames']} frames, with "
        f"{document['held_out_frames']} held out to compare on and {document['range_frames']} for FP16's "
        f"range: {document['seconds'] / 60:.0f} minutes "
        f"on {machine(document)}{beside}; {document['cpu_seconds'] / 60:.1f} minutes of CPU time, "
        f"{document['peak_bytes'] / 2**30:.1f} GiB at most (`python benchmarks/calibration_cost.py`)."
    )


def engines(document: Document) -> str:
    """Size, memory and layers of the engines."""
    rows = [
        [
            f"{network} {size}",
            precision.upper(),
            *(mib(row[key]) for key in ("engine_bytes", "activation_memory_bytes")),
            str(row["layers"]),
        ]
        for network, sizes in document["engines"].items()
        for size, precisions in sizes.items()
        for precision, row in precisions.items()
    ]
    title = (
        f"Engines by the builder of {document['library']} for {document['target']}, native lowering, all "
        "convolutions on INT8 or none. Layers are those of the file as it was parsed, Q/DQ among them "
        "(`python benchmarks/rtx_engines.py`); built, not run:"
    )
    return f"{prose(title)}\n\n{markdown(['network', '', 'engine, MiB', 'activations, MiB', 'layers'], rows)}"


def engine_memory(document: Document) -> str:
    """Why INT8 takes more activation memory than FP16."""
    sizes = document["sizes"]
    names = list(next(iter(sizes.values())))
    rows = []
    for name in names:
        row = next(iter(sizes.values()))[name]
        types = ", ".join(f"{count} {kind}" for kind, count in row["convolutions"].items())
        memory_of = (mib(held[name]["activation_memory_bytes"]) for held in sizes.values())
        rows.append([name, *memory_of, mib(row["moved_bytes"]), types])
    first = next(iter(sizes))
    header = ["R-50", *(f"activations at {size}, MiB" for size in sizes), f"moved at {first}, MiB"]
    told = (
        "INT8 needs more activation memory than FP16 here because this builder lets a convolution with one "
        "weight scale a channel write FP32: the largest tensors, 2048 channels at an eighth of the size, "
        "stand there twice, with 4 bytes a value. Q/DQ at the residual sums save memory, at the pooling they "
        "change nothing. With one scale a tensor it writes FP16. So the same INT8 weights with one scale a "
        "tensor, and each channel's factor multiplied behind the convolution, take no more than FP16; `danet "
        "build` does not do this (`python benchmarks/rtx_int8_memory.py`):"
    )
    return f"{prose(told)}\n\n{markdown([*header, 'convolutions'], rows)}"


def block(results: Path) -> str:
    """What stands between the markers, from the results that are there."""

    def read(name: str) -> Document | None:
        file = results / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    training = read("camvid_training")
    makers: dict[str, Callable[[Document], str]] = {
        "camvid_ladder": lambda document: ladder(document, training),
        "cityscapes_agreement": agreement,
        "calibration_memory": memory,
        "calibration_cost": cost,
        "rtx_engines": engines,
        "rtx_int8_memory": engine_memory,
    }
    return "\n\n".join(make(found) for name, make in makers.items() if (found := read(name)) is not None)


if __name__ == "__main__":
    sys.exit(keep_readme(__doc__.splitlines()[0], block(RESULTS), MARKERS))
