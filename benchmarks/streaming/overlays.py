"""The cost of drawing an overlay, and of each option: milliseconds of processor time a frame.

    python -m benchmarks.streaming.overlays          # writes benchmarks/results/overlays.json

Frames and labels are those of a street of sorts with twelve classes; the styles are drawn in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from danet_runtime import OverlayStyle, Result
from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine
from danet_runtime.results.overlay import Overlay
from danet_runtime.results.result import Labelling

RESULTS = results_file("overlays")
MODEL_HW = (360, 480)
CLASSES = 12
STYLES = {
    "colors alone": OverlayStyle(),
    "legend": OverlayStyle(legend=True),
    "contours": OverlayStyle(contours=True),
    "names": OverlayStyle(names=True),
    "head-up line": OverlayStyle(head_up=True),
    "upsample bilinear": OverlayStyle(upsample="bilinear"),
}


def results(size_hw: tuple[int, int], count: int) -> Iterator[Result]:
    """Results of a model of :data:`MODEL_HW`, whose regions move."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.random((9, 12)).astype(np.float32), MODEL_HW[::-1], interpolation=cv2.INTER_CUBIC)
    classes = tuple(SegmentationClass(name=f"class {n}", color=(20 * n, 90, 60)) for n in range(CLASSES))
    frame = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    for number in range(count):
        moved = np.roll(coarse, 3 * number, axis=1)
        small = np.clip(moved * CLASSES, 0, CLASSES - 1).astype(np.uint8)
        labels = cv2.resize(small, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        yield Result(
            frame,
            np.asarray(labels, np.uint8),
            number,
            40_000_000 * number,
            50.0,
            {},
            labelling=Labelling(classes, "onnxruntime:fp32", MODEL_HW),
        )


def costs(size_hw: tuple[int, int], frames: int) -> dict[str, float]:
    """Processor time of the drawing of one frame in milliseconds, the median, by style."""
    made = list(results(size_hw, frames))
    overlays = {name: Overlay(size_hw, made[0].classes, replace(style)) for name, style in STYLES.items()}
    out = np.empty((*size_hw, 3), np.uint8)
    taken: dict[str, list[float]] = {name: [] for name in STYLES}
    for result in made:
        for name, overlay in overlays.items():
            started = time.process_time()
            overlay.draw_into(result, out)
            taken[name].append(1e3 * (time.process_time() - started))
    return {name: statistics.median(times[2:]) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="1080x1920")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    size_hw, load = parse_size(arguments.size, "--size"), os.getloadavg()
    milliseconds = costs(size_hw, arguments.frames)
    table = Table("style", "ms of processor time", title=f"Drawing overlays of {arguments.size}")
    for name, value in milliseconds.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "load_average_at_start": [round(value, 2) for value in load],
            "size_hw": list(size_hw),
            "model_hw": list(MODEL_HW),
            "classes": CLASSES,
            "frames": arguments.frames,
            "cpu_ms": milliseconds,
        },
    )


if __name__ == "__main__":
    main()
