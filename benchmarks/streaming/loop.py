"""The cost of the loop itself: throughput, added latency, age under overload, fairness, memory.

The model is replaced by a fixed time, so that the figures are of the loop and not of a machine's model.
Every figure is a ratio or a difference within one run.

python -m benchmarks.streaming.loop [--size 1024x2048] [--frames 400] [--soak 20000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from benchmarks.streaming.stand_ins import OPTIONS, Busy, FixedStages, FixedTime, Ticks, bundle_of
from danet_runtime import Bundle, Segmenter, Stream
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine

RESULTS = results_file("stream")


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
    """The resident memory of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="1024x2048")
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--soak", type=int, default=20_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
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
