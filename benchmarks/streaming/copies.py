"""The cost of copying a stream's results: the rate with copies over that with views.

    python -m benchmarks.streaming.copies            # writes benchmarks/results/copies.json

The model is replaced by a fixed amount of work on every core, so that a copy finds no idle core: what it
takes is missing elsewhere. Streams with copies and with views run in turn, the order changed each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from benchmarks.streaming.stand_ins import OPTIONS, Ticks, bundle_of
from danet_runtime import Bundle, Segmenter, Stream, StreamOptions
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.files.atomic import write_json
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.machine import describe_machine

RESULTS = results_file("copies")


class FixedWork:
    """A backend that blurs a picture a fixed number of times, on every core, and gives zeros."""

    name = "fixed-work"

    def __init__(self, times: int) -> None:
        self.times = times
        self._picture: UInt8Array = np.zeros((512, 1024, 3), np.uint8)
        self._blurred: UInt8Array = np.empty_like(self._picture)

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        labels.fill(0)
        for _ in range(self.times):
            cv2.GaussianBlur(self._picture, (15, 15), 3.0, dst=self._blurred)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "times": self.times}

    def close(self) -> None:
        pass


def times_for(milliseconds: float) -> int:
    """How often a :class:`FixedWork` blurs for so much processor time, over all cores."""
    backend = FixedWork(20)
    labels = np.empty((8, 8), np.uint8)
    taken_s = []
    for _ in range(5):
        started = time.process_time()
        backend.infer(labels, labels)
        taken_s.append(time.process_time() - started)
    return max(1, round(20 * milliseconds / 1e3 / min(taken_s)))


def run(bundle: Bundle, size_hw: tuple[int, int], times: int, frames: int, *, copy: bool) -> dict[str, float]:
    """Frames a second of one stream, and processor time of the process a frame."""
    options = StreamOptions(
        golden=OPTIONS.golden,
        frozen_after_s=OPTIONS.frozen_after_s,
        black_after_s=OPTIONS.black_after_s,
        copy=copy,
    )
    source = Ticks(size_hw, 0.0, frames, live=False)
    used_s, started = time.process_time(), 0.0
    with Stream(Segmenter(bundle, backend=FixedWork(times)), source, options=options) as stream:
        for result in stream:
            if not started:  # threads and memory are there
                used_s, started = time.process_time(), time.perf_counter()
            assert result.labels[0, 0] == 0
        return {
            "fps": (frames - 1) / (time.perf_counter() - started),
            "cpu_ms": 1e3 * (time.process_time() - used_s) / (frames - 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="1024x2048")
    parser.add_argument("--model-ms", type=float, default=40.0, help="processor time of the stand-in")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    size_hw, load = parse_size(arguments.size, "--size"), os.getloadavg()
    times = times_for(arguments.model_ms)
    runs: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(size_hw, Path(folder))
        for turn in range(-1, arguments.rounds):
            for copy in (True, False) if turn % 2 else (False, True):
                made = run(bundle, size_hw, times, arguments.frames, copy=copy)
                if turn >= 0:  # libraries are loaded in the first round
                    runs[copy].append(made)
    pairs = list(zip(runs[True], runs[False], strict=True))
    rates = [copies["fps"] / views["fps"] for copies, views in pairs]
    costs = [copies["cpu_ms"] - views["cpu_ms"] for copies, views in pairs]
    figures = {
        "fps_over_views": statistics.median(rates),
        "fps_over_views_each_round": [round(rate, 4) for rate in rates],
        "fps_of_views": statistics.median(one["fps"] for one in runs[False]),
        "cpu_ms_of_views": statistics.median(one["cpu_ms"] for one in runs[False]),
        "cpu_ms_of_a_copy": statistics.median(costs),
    }
    table = Table("figure", "value", title=f"Copies of results, frames of {arguments.size}")
    for key, value in figures.items():
        if isinstance(value, float):
            table.add_row(key.replace("_", " "), f"{value:.4g}")
    Console().print(table)
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "load_average_at_start": [round(value, 2) for value in load],
            "size_hw": list(size_hw),
            "model_ms": arguments.model_ms,
            "rounds": arguments.rounds,
            "frames": arguments.frames,
            **figures,
        },
    )


if __name__ == "__main__":
    main()
