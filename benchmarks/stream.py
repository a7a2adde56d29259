"""What the loop itself costs: throughput, added latency, age under overload, fairness, memory.

The model is replaced by a fixed time, so that the figures are of the loop and not of a machine's model.
Every figure is a ratio or a difference within one run.

python benchmarks/stream.py [--size 1024x2048] [--frames 400] [--soak 20000]
python benchmarks/stream.py --readme     # only puts the table of what was measured into the README
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from readme_table import with_block
from rich.console import Console
from rich.table import Table

from danet_runtime import Bundle, Segmenter, Stream, StreamOptions
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.clock import now_ns
from danet_runtime.files.atomic import write_json
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.machine import describe_machine
from danet_runtime.sources import FrameInfo
from danet_runtime.timing import DeviceTimes

RESULTS = Path(__file__).parent / "results" / "stream.json"
README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN = "<!-- made by benchmarks/stream.py: begin -->"
END = "<!-- made by benchmarks/stream.py: end -->"
OPTIONS = StreamOptions(golden=False, frozen_after_s=1e6, black_after_s=1e6)


class FixedTime:
    """A backend that takes as long as it is told and gives zeros."""

    name = "fixed-time"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        end = time.monotonic() + self.seconds
        labels.fill(0)
        time.sleep(max(0.0, end - time.monotonic()))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "seconds": self.seconds}

    def close(self) -> None:
        pass


class FixedStages(FixedTime):
    """The same with an upload before and a download after, each beside another frame's inference."""

    UPLOAD_S, DOWNLOAD_S = 0.001, 0.0005
    depth = 2

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._stages = (self.UPLOAD_S, seconds, self.DOWNLOAD_S)
        self._free_at = [0.0, 0.0, 0.0]
        self._flying: dict[int, tuple[float, UInt8Array]] = {}
        self._submitted = 0

    def submit(self, frame: UInt8Array, labels: UInt8Array) -> int:
        done = time.monotonic()
        for stage, seconds in enumerate(self._stages):
            done = self._free_at[stage] = max(done, self._free_at[stage]) + seconds
        self._submitted += 1
        self._flying[self._submitted] = (done, labels)
        return self._submitted

    def collect(self, ticket: int) -> DeviceTimes:
        done, labels = self._flying.pop(ticket)
        labels.fill(0)
        time.sleep(max(0.0, done - time.monotonic()))
        return DeviceTimes(*(1e3 * seconds for seconds in self._stages))


class Ticks:
    """A source with a steady rate that writes one row a frame: the loop is measured, not a decoder."""

    fps: float | None = None

    def __init__(self, size_hw: tuple[int, int], every_s: float, count: int, live: bool) -> None:
        self.size_hw = size_hw
        self.count: int | None = count
        self.live = live
        self._every_s = every_s
        self._next = time.monotonic()
        self._read = 0

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        if self._read == self.count:
            return None
        if self.live:
            self._next = max(self._next + self._every_s, time.monotonic() - self._every_s)
        else:
            self._next = time.monotonic() + self._every_s
        time.sleep(max(0.0, self._next - time.monotonic()))
        buffer[0] = self._read % 256
        self._read += 1
        return FrameInfo(self._read - 1, now_ns())

    def describe(self) -> dict[str, Any]:
        return {"kind": "ticks"}

    def close(self) -> None:
        pass


class Busy:
    """A sink that takes a fixed time."""

    name = "busy"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def open(self, stream_format: object) -> None:
        pass

    def write(self, result: object) -> None:
        time.sleep(self.seconds)

    def describe(self) -> dict[str, Any]:
        return {"kind": self.name}

    def close(self) -> None:
        pass


def bundle_of(size_hw: tuple[int, int], folder: Path) -> Bundle:
    """A bundle whose manifest says that frames have a size; its model is never run."""
    from danet_export.frames import pattern
    from danet_export.graph.geometry import plan_geometry
    from danet_export.pipeline import export_bundle
    from danet_train.checkpoint import read_checkpoint, save_checkpoint
    from danet_train.classes import CITYSCAPES
    from danet_train.config.sections import Normalisation
    from danet_train.model.danet import build_model

    model = build_model(18, base_channels=8, stem_channels=8, head_channels=32, attention_channels=8)
    save_checkpoint(
        folder / "c.pt", model.eval(), classes=CITYSCAPES, normalisation=Normalisation(), metadata={}
    )
    loaded = read_checkpoint(folder / "c.pt")
    export_bundle(
        loaded, CITYSCAPES, plan_geometry((64, 128)), lambda hw: [pattern(hw, 0)], folder / "bundle"
    )
    small = Bundle.open(folder / "bundle")
    frame = small.manifest.frame.model_copy(update={"size_hw": size_hw})
    return Bundle(small.path, small.manifest.model_copy(update={"frame": frame}), small.sha256)


def throughput(bundle: Bundle, size_hw: tuple[int, int], frames: int) -> dict[str, float]:
    """Three stages of 10, 12 and 8 ms: the loop's time over the slowest stage's, and over their sum."""
    times = {"capture": 0.010, "inference": 0.012, "sink": 0.008}
    segmenter, sink = Segmenter(bundle, backend=FixedTime(times["inference"])), Busy(times["sink"])

    def alone(stage: str) -> float:
        source = Ticks(size_hw, times["capture"], frames, live=False)
        buffer, labels = np.empty((*size_hw, 3), np.uint8), np.empty(size_hw, np.uint8)
        started = time.monotonic()
        for _ in range(frames):
            if stage in ("capture", "all"):
                source.read_into(buffer)
            if stage in ("inference", "all"):
                segmenter.infer_into(buffer, labels)
            if stage in ("sink", "all"):
                sink.write(None)
        return time.monotonic() - started

    slowest = max(alone(stage) for stage in times)
    sequential = alone("all")

    def looped(backend: FixedTime) -> float:
        source = Ticks(size_hw, times["capture"], frames, live=False)
        started = time.monotonic()
        Stream(Segmenter(bundle, backend=backend), source, [sink], options=OPTIONS).run()
        return time.monotonic() - started

    return {
        "over_slowest_stage": looped(FixedTime(times["inference"])) / slowest,
        "overlapped_over_slowest_stage": looped(FixedStages(times["inference"])) / slowest,
        "sequential_over_slowest_stage": sequential / slowest,
        "frames": frames,
    }


def added_latency(bundle: Bundle, size_hw: tuple[int, int], frames: int) -> dict[str, float]:
    """Frame in to result out, less the inference itself, at 25 frames a second and 10 ms of inference."""
    added = []
    segmenter = Segmenter(bundle, backend=FixedTime(0.010))
    for result in Stream(segmenter, Ticks(size_hw, 0.040, frames, live=True), options=OPTIONS):
        added.append(result.age_ms - result.stages_ms["inference"])
    quantiles = np.percentile(added[5:], (50, 90, 99, 100))
    return dict(zip(("p50_ms", "p90_ms", "p99_ms", "max_ms"), map(float, quantiles), strict=True))


def overload(bundle: Bundle, size_hw: tuple[int, int], frames: int) -> dict[str, float]:
    """A source three times as fast as the model: the age under ``latest``, what is lost under ``every``."""
    inference_s = 0.015

    def latest(backend: FixedTime) -> tuple[list[float], int]:
        source = Ticks(size_hw, inference_s / 3, frames, live=True)
        stream = Stream(Segmenter(bundle, backend=backend), source, options=OPTIONS)
        ages = [result.age_ms / (1e3 * inference_s) for result in stream]
        return ages[3:], stream.frames_dropped

    (ages, dropped), (overlapped, _) = latest(FixedTime(inference_s)), latest(FixedStages(inference_s))
    segmenter = Segmenter(bundle, backend=FixedTime(inference_s))
    every = Stream(
        segmenter, Ticks(size_hw, inference_s / 3, frames // 2, live=True), policy="every", options=OPTIONS
    )
    ids = [result.frame_id for result in every]
    return {
        "latest_oldest_in_inference_times": max(ages),
        "latest_median_in_inference_times": float(np.median(ages)),
        "latest_dropped": dropped,
        "overlapped_oldest_in_inference_times": max(overlapped),
        "overlapped_median_in_inference_times": float(np.median(overlapped)),
        "every_lost": frames // 2 - len(ids),
    }


def fairness(bundle: Bundle, size_hw: tuple[int, int], frames: int) -> dict[str, float]:
    """Four cameras of different rates on one model: the largest difference of a share from a quarter."""
    segmenter = Segmenter(bundle, backend=FixedTime(0.008))
    cameras = {
        f"camera-{number}": Ticks(size_hw, every_s, 10**9, live=True)
        for number, every_s in enumerate((0.010, 0.014, 0.020, 0.028))
    }
    seen: Counter[str] = Counter()
    with Stream(segmenter, cameras, options=OPTIONS) as stream:
        for result in stream:
            seen[result.source] += 1
            if seen.total() >= frames:
                break
    return {"largest_difference_from_equal": max(abs(seen[name] * 4 / frames - 1) for name in cameras)}


def soak(bundle: Bundle, frames: int) -> dict[str, float]:
    """Resident memory over many frames of 128x256 after a warm-up of a tenth of them."""
    small = bundle.manifest.frame.model_copy(update={"size_hw": (128, 256)})
    held = Bundle(bundle.path, bundle.manifest.model_copy(update={"frame": small}), bundle.sha256)
    stream = Stream(
        Segmenter(held, backend=FixedTime(0.0)), Ticks((128, 256), 0.0, frames, live=False), options=OPTIONS
    )
    warm = 0
    for result in stream:
        if result.frame_id == frames // 10:
            warm = resident_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "frames": frames,
        "grown_bytes_a_frame": (resident_bytes() - warm) / (0.9 * frames),
        "grown_mib": (resident_bytes() - warm) / 2**20,
        "peak_mib": peak / 2**20,
    }


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def block(results: dict[str, Any]) -> str:
    """The README's table of what was measured."""
    loop, added, over = results["throughput"], results["added_latency"], results["overload"]
    soaked = results["soak"]
    rows = (
        ("time of the loop over its slowest stage alone", f"{loop['over_slowest_stage']:.3f}"),
        (
            "likewise with an upload and a download beside the inference, two frames under way",
            f"{loop['overlapped_over_slowest_stage']:.3f}",
        ),
        ("one stage after the other, likewise", f"{loop['sequential_over_slowest_stage']:.2f}"),
        (
            "added latency, frame in to result out less inference, p50, p99, max",
            f"{added['p50_ms']:.2f}, {added['p99_ms']:.2f}, {added['max_ms']:.2f} ms",
        ),
        (
            "`latest`, source three times as fast as inference: oldest result",
            f"{over['latest_oldest_in_inference_times']:.2f} inference times",
        ),
        (
            "likewise with two frames under way",
            f"{over['overlapped_oldest_in_inference_times']:.2f} inference times",
        ),
        ("`every`, likewise: frames lost", f"{over['every_lost']}"),
        (
            "four cameras of different rates: largest difference from an equal share",
            f"{results['fairness']['largest_difference_from_equal']:.1%}",
        ),
        (
            f"resident memory grown over {soaked['frames']} frames after a warm-up",
            f"{soaked['grown_mib']:.2f} MiB",
        ),
    )
    machine = results["machine"]
    lines = ["| | |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)]
    told = f"{machine['cpu_count']} cores of an {machine['cpu']}, other work beside it"
    return "\n".join([*lines, "", f"On {told}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="1024x2048")
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--soak", type=int, default=20_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    arguments = parser.parse_args()
    if arguments.readme:
        made = block(json.loads(arguments.output.read_text(encoding="utf-8")))
        README.write_text(
            with_block(README.read_text(encoding="utf-8"), made, (BEGIN, END)), encoding="utf-8"
        )
        return
    size_hw = parse_size(arguments.size, "--size")
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(size_hw, Path(folder))
        results = {
            "machine": describe_machine(),
            "size_hw": list(size_hw),
            "throughput": throughput(bundle, size_hw, arguments.frames),
            "added_latency": added_latency(bundle, size_hw, arguments.frames),
            "overload": overload(bundle, size_hw, arguments.frames),
            "fairness": fairness(bundle, size_hw, arguments.frames),
            "soak": soak(bundle, arguments.soak),
        }
    table = Table("figure", "value", title=f"The loop alone, frames of {arguments.size}")
    for name, values in results.items():
        if isinstance(values, dict) and name != "machine":
            for key, value in values.items():
                table.add_row(f"{name}: {key.replace('_', ' ')}", f"{value:.4g}")
    Console().print(table)
    write_json(arguments.output, results)


if __name__ == "__main__":
    main()
