"""Time and peak memory of one calibration of DANet R-50 at 512x1024 on 16 frames. Needs no GPU.

It is `danet calibrate` in a process of its own, on drawn scenes. The weights are random: neither time nor
memory depends on them, so nothing is said of accuracy; the classifier's biases are far apart, so that labels
are stable and the agreement that `danet calibrate` demands of INT8 holds. The frames that it holds out to
compare INT8 with FP32 are part of what is timed, as they are for everybody.

python -m benchmarks.calibration.cost [--depth 50] [--size 512x1024] [--count 16] [--method max]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.calibration.memory import export_with_scenes
from benchmarks.networks import random_network
from benchmarks.places import results_file
from benchmarks.process import DANET, run_alone
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine
from danet_train.model.danet import DANet

RESULTS = results_file("calibration_cost")
HELD_OUT_FRAMES = 16
RANGE_FRAMES = 1


def settled_network(depth: int) -> DANet:
    """Random weights whose labels are stable: the classes' biases are far apart."""
    network = random_network(depth, seed=0)
    with torch.no_grad():
        bias = network.decode_head.conv_seg.bias
        if bias is None:
            raise ValueError("expected a classifier with biases, got one without")
        bias.copy_(torch.linspace(-5, 5, len(bias)))
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--size", default="512x1024")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--method", default="max")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name, console.status("prepare a bundle and scenes") as status:
        folder = Path(name)
        frames = arguments.count + HELD_OUT_FRAMES
        bundle, scenes = export_with_scenes(settled_network(arguments.depth), folder, arguments.size, frames)
        status.update("calibrate")
        load = os.getloadavg()
        options = ("--data", str(scenes), "--count", str(arguments.count), "--method", arguments.method)
        ranges = ("--range-frames", str(RANGE_FRAMES), "--min-agreement", "0.5")  # of random weights
        taken = run_alone((*DANET, "calibrate", str(bundle), *options, *ranges, "-o", str(folder / "int8")))
        report = json.loads((folder / "int8" / "reports" / "calibration.json").read_text(encoding="utf-8"))
    figures = {
        "seconds": round(taken.seconds, 1),
        "cpu_seconds": round(taken.cpu_seconds, 1),
        "peak_bytes": taken.peak_bytes,
    }
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "load_average_at_start": [round(value, 2) for value in load],
            "model": f"R-{arguments.depth}, {arguments.size}",
            "method": arguments.method,
            "frames": len(report["images_used"]),
            "held_out_frames": report["label_agreement_frames"],
            "range_frames": RANGE_FRAMES,
            "conv_mac_share_int8": report["conv_mac_share_int8"],
            **figures,
        },
    )
    console.print(
        f"R-{arguments.depth} at {arguments.size}, {arguments.count} frames, {arguments.method}: "
        f"{taken.seconds:.0f} s ({taken.cpu_seconds:.0f} s of CPU), at most "
        f"{taken.peak_bytes / 2**30:.2f} GiB"
    )
    console.print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
