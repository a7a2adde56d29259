"""Mixed-precision search on CamVid: trained on train, calibrated on train, measured on val. Needs no GPU.

The checkpoint is one of `danet train --data DATA --classes camvid --config camvid_r18_small`, with the
record that it wrote beside it. From there it is `danet export` and `danet calibrate`, as anybody would type
them; the figures are those of the bundle that they write. A gate that cannot hold is a result too, and kept.

python -m benchmarks.calibration.camvid_mixed_precision CHECKPOINT DATA [--bundle FOLDER] [--count 128]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.places import results_file
from benchmarks.process import DANET
from danet_runtime.files.atomic import sha256_of, write_json
from danet_runtime.machine import describe_machine

SIZE = "360x480"

GATE_PARTS = (
    "gate",
    "reason",
    "rules",
    "measured",
    "not_measured",
    "evidence",
    "overlap",
    "sensitivity",
    "attempts",
)
REPORT_PARTS = (
    "method",
    "methods_compared_by",
    "method_scores",
    "convergence_method",
    "convergence",
    "coverage",
    "class_coverage",
    "images_sha256",
    "quantize_nodes",
    "golden_agreement_int8",
    "label_agreement_int8_fp32",
    "label_agreement_frames",
    "label_agreement_of",
)
RANGE_PARTS = (
    "frames",
    "tensors",
    "tensors_fp16",
    "attention",
    "largest",
    "beyond_limit",
    "fp32_beyond_fp16",
    "nonfinite_alone",
    "nonfinite_when_rounded",
    "underflow_share",
    "label_agreement_rounded_fp32",
    "kept_fp32",
)
TRAINING_PARTS = (
    "miou",
    "pixel_accuracy",
    "iou",
    "steps",
    "training_seconds",
    "loss_curve",
    "val_curve",
    "best",
    "config",
)


def parts(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The entries of a document that are kept; those that it does not have are left out."""
    return {name: document[name] for name in names if name in document}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def search_document(verdict: Mapping[str, Any], bundle: Path | None) -> dict[str, Any]:
    """The part of a calibration that is kept.

    Args:
        verdict: The verdict's JSON.
        bundle: The bundle that was written; None where the gate could not hold.
    """
    document = parts(verdict, GATE_PARTS) | {"candidates": verdict["ladder"]}  # as verdicts call them on disk
    if bundle is not None:
        document |= parts(read(bundle / "reports" / "calibration.json"), REPORT_PARTS)
        document["fp16_range"] = parts(read(bundle / "reports" / "fp16_range.json"), RANGE_PARTS)
    return document


def calibrated(checkpoint: Path, data: Path, folder: Path, count: int) -> tuple[dict[str, Any], Path | None]:
    """Export and calibrate; the verdict, and the bundle where there is one.

    Raises:
        SystemExit: A command failed otherwise than by its gate.
    """
    frames = data / "train" / "images"
    bundle, target, verdict = folder / "bundle", folder / "bundle-int8", folder / "verdict.json"
    export = ("export", str(checkpoint), "--size", SIZE, "--data", str(frames), "-o", str(bundle))
    subprocess.run([*DANET, *export], check=True)
    labelled = ("--labelled", str(data), "--split", "val", "--classes", "camvid")
    images = ("--data", str(data / "train"), "--count", str(count))
    written = ("-o", str(target), "--verdict", str(verdict))
    done = subprocess.run([*DANET, "calibrate", str(bundle), *images, *labelled, *written], check=False)
    if not verdict.is_file():
        raise SystemExit(f"danet calibrate ended with {done.returncode} and wrote no verdict")
    return read(verdict), target if done.returncode == 0 else None


def without_path(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same with ``DATA`` for the path of the data, which is one machine's own."""
    cleaned: dict[str, Any] = json.loads(json.dumps(document).replace(str(folder), "DATA"))
    return cleaned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="folder with train and val")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--bundle", type=Path, help="keep the INT8 bundle here; must not exist")
    parser.add_argument("--output", type=Path, default=results_file("camvid_mixed_precision"))
    parser.add_argument("--training-output", type=Path, default=results_file("camvid_training"))
    arguments = parser.parse_args()
    if arguments.bundle and arguments.bundle.exists():
        parser.error(f"{arguments.bundle} exists; give a path that does not")
    console = Console()
    record = read(arguments.checkpoint.with_suffix(".json"))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        verdict, bundle = calibrated(arguments.checkpoint, arguments.data, Path(name), arguments.count)
        document = without_path(search_document(verdict, bundle), arguments.data)
        if bundle and arguments.bundle:
            shutil.copytree(bundle, arguments.bundle)
    sha256 = sha256_of(arguments.checkpoint.read_bytes())
    write_json(arguments.training_output, {"checkpoint_sha256": sha256, **parts(record, TRAINING_PARTS)})
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "checkpoint_sha256": sha256,
            "size": SIZE,
            "calibration_frames": arguments.count,
            "seconds": round(time.monotonic() - started, 1),
            **document,
        },
    )
    console.print(f"written to {arguments.output} and {arguments.training_output}")


if __name__ == "__main__":
    main()
