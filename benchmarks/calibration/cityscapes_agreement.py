"""How far INT8 agrees with FP32 on real Cityscapes frames. Needs no GPU.

The bundle is that of `make demo`, trained on drawn scenes, so that nothing is said of its accuracy on real
ones: only that INT8 gives FP32's labels. It is calibrated twice: on the drawn scenes that it was trained on,
and on the few real frames themselves.

python -m benchmarks.calibration.cityscapes_agreement BUNDLE SCENES DATA
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.places import results_file
from benchmarks.process import DANET
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine

RESULTS = results_file("cityscapes_agreement")


def agreement(bundle: Path, images: Path, data: Path, folder: Path) -> dict[str, Any]:
    """Calibrate a bundle on ``images``, and compare its INT8 with its FP32 on the frames of ``data``."""
    int8, compared = folder / "bundle", folder / "compared"
    calibrate = ("calibrate", str(bundle), "--data", str(images), "-o", str(int8), "--min-agreement", "0")
    compare = ("compare", str(int8), "--data", str(data), "--worst", "0", "-o", str(compared))
    for command in (calibrate, compare):
        subprocess.run([*DANET, *command], check=True, stdout=subprocess.DEVNULL)
    found = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    report = json.loads((int8 / "reports" / "calibration.json").read_text(encoding="utf-8"))
    return {
        "calibration_frames": len(report["images_used"]),
        "method": report["method"],
        "conv_mac_share_int8": report["conv_mac_share_int8"],
        "frames_compared": found["frames_compared"],
        "pixels_compared": found["pixels_compared"],
        "agreement": found["agreement"],
        "mean_iou_int8_fp32": found["mean_iou"],
        "iou_int8_fp32": found["iou"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="of `danet export`")
    parser.add_argument("scenes", type=Path, help="drawn scenes, of `danet synthesize`")
    parser.add_argument("data", type=Path, help="real frames, in the layout of Cityscapes")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = Console()
    measured = {}
    for name, images in (("drawn scenes", arguments.scenes), ("these frames", arguments.data)):
        with tempfile.TemporaryDirectory() as folder, console.status(f"calibrate on {name}"):
            measured[name] = agreement(arguments.bundle, images, arguments.data, Path(folder))
        share = measured[name]["agreement"]["overall"]
        console.print(f"calibrated on {name}: INT8 gives FP32's label to {share:.2%} of the pixels")
    write_json(arguments.output, {"machine": describe_machine(), "calibrated_on": measured})
    console.print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
