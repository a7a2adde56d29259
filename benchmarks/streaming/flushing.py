"""The cost of flushing outputs to the disk: each way in turn with and without flushing, in one run.

    python -m benchmarks.streaming.flushing            # writes benchmarks/results/flushing.json
    python -m benchmarks.streaming.flushing --folder /data

The sinks get pictures at the rate of a camera; what is compared is the time of their writes, after one round
that is not counted. Files and folders are compared with the same ones renamed into place without a flush.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from danet_runtime.files import atomic
from danet_runtime.files.atomic import replacing_folder, write_json
from danet_runtime.machine import describe_machine
from danet_runtime.results.result import Result
from danet_runtime.sinks import StreamFormat
from danet_runtime.sinks.json_lines import JsonLinesSink
from danet_runtime.sinks.masks import MasksSink
from danet_runtime.sinks.video import VideoSink
from danet_runtime.sinks.writing import flushing

RESULTS = results_file("flushing")
SIZE_HW = (512, 1024)
FPS = 25.0
BOX_FRAMES = 750
"""Thirty seconds at 25 a second, as a flight recorder keeps."""

_NEVER_S = 1e9


def _skipped(_path: Path) -> None:
    """Flush nothing."""


UNFLUSHED: dict[str, Any] = dict.fromkeys(("sync_file", "sync_folder", "sync_tree"), _skipped)
"""Replacements of the flushes of files that are renamed into place."""


def results(count: int) -> list[Result]:
    """Results whose frames and labels differ."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (SIZE_HW[0] // 32, SIZE_HW[1] // 32, 3), np.uint8)
    frame = np.kron(coarse, np.ones((32, 32, 1), np.uint8))
    made = []
    for number in range(count):
        moved = np.roll(frame, 4 * number, axis=1)
        made.append(Result(moved, (moved[..., 0] % 19).copy(), number, number, 1.0, {}))
    return made


def write_times(
    make: Callable[[Path], Any], folder: Path, frames: list[Result], seconds: float
) -> list[float]:
    """Seconds of each write, at the rate of a camera, and of the close at last."""
    sink = make(folder)
    stream_format = StreamFormat(SIZE_HW, FPS, (), np.zeros((256, 3), np.uint8))
    sink.open(stream_format)
    times = []
    for number in range(round(seconds * FPS)):
        one = frames[number % len(frames)]
        started = time.perf_counter()
        sink.write(Result(one.frame, one.labels, number, number, 1.0, {}))
        times.append(time.perf_counter() - started)
        time.sleep(max(0.0, 1 / FPS - times[-1]))
    started = time.perf_counter()
    sink.close()
    times.append(time.perf_counter() - started)
    return times


def compare_sinks(folder: Path, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """For each sink the write with flushing over that without, in the median, and the slowest."""
    frames = results(40)
    makers: dict[str, Callable[[Path], Any]] = {
        "video": lambda at: VideoSink(at / "out.mp4"),
        "jsonl": lambda at: JsonLinesSink(at / "out.jsonl"),
        "masks": lambda at: MasksSink(at / "masks"),
    }
    figures = {}
    for name, make in makers.items():
        writes: dict[bool, list[float]] = {True: [], False: []}
        closes: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(-2, 2 * rounds):
            is_flushed = turn % 2 == 0
            at = folder / f"{name}-{turn}"
            at.mkdir()
            with nullcontext() if is_flushed else mock.patch.object(flushing, "FLUSH_EVERY_S", _NEVER_S):
                *times, close = write_times(make, at, frames, seconds)
            shutil.rmtree(at)
            if turn >= 0:  # libraries are loaded in the first round
                writes[is_flushed] += times
                closes[is_flushed].append(close)
        figures[name] = {
            "write_over_unflushed": statistics.median(writes[True]) / statistics.median(writes[False]),
            "write_ms": 1e3 * statistics.median(writes[True]),
            "slowest_write_ms": 1e3 * max(writes[True]),
            "slowest_write_unflushed_ms": 1e3 * max(writes[False]),
            "close_ms": 1e3 * statistics.median(closes[True]),
        }
    return figures


def compare_files(folder: Path, rounds: int) -> dict[str, float]:
    """Milliseconds of a report and of a flight recording's folder, flushed, and what the flush adds."""

    def a_report(at: Path) -> None:
        write_json(at / "report.json", list(range(1000)))

    def a_box(at: Path) -> None:
        with replacing_folder(at / "box", "mark") as partial:
            for number in range(BOX_FRAMES):
                (partial / f"{number:06d}.jpg").write_bytes(jpeg)
                (partial / f"{number:06d}.png").write_bytes(png)

    rng = np.random.default_rng(0)
    jpeg, png = rng.bytes(40_000), rng.bytes(8_000)
    figures = {}
    for name, write in (("report", a_report), ("flight_recorder", a_box)):
        times: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(2 * rounds):
            is_flushed = turn % 2 == 0
            at = folder / f"{name}-{turn}"
            at.mkdir()
            started = time.perf_counter()
            with nullcontext() if is_flushed else mock.patch.multiple(atomic, **UNFLUSHED):
                write(at)
            times[is_flushed].append(time.perf_counter() - started)
            shutil.rmtree(at)
        figures[f"{name}_ms"] = 1e3 * min(times[True])
        figures[f"{name}_unflushed_ms"] = 1e3 * min(times[False])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default the temporary folder")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        sinks = compare_sinks(Path(folder), arguments.rounds, arguments.seconds)
        files = compare_files(Path(folder), arguments.rounds)
    table = Table("figure", "value", title="Reaching the disk")
    for sink, values in sinks.items():
        for key, value in values.items():
            table.add_row(f"{sink}: {key.replace('_', ' ')}", f"{value:.4g}")
    for key, value in files.items():
        table.add_row(key.replace("_", " "), f"{value:.4g}")
    Console().print(table)
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "load_average_at_start": [round(value, 2) for value in load],
            "size_hw": list(SIZE_HW),
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "sinks": sinks,
            "files": files,
        },
    )


if __name__ == "__main__":
    main()
