"""Frames of RTSP cameras over bad networks, against pictures that tell their number and time.

    python -m benchmarks.streaming.cameras             # writes benchmarks/results/cameras.json
    python -m benchmarks.streaming.cameras --before ../7443609/runtime   # and of the code in another checkout

Twenty joins between two key frames; 0.5, 2 and 5 % of the packets lost over UDP; a delay that grows, with and
without the sender's reports. Counted are frames that were delivered as good and are not, and by how much the
age that was told is wrong.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.places import REPOSITORY, results_file

OWN = REPOSITORY / "runtime"
SUPPORT = REPOSITORY / "tests" / "support"
RESULTS = results_file("cameras")

JOINS = 20
LOSSES = (0.005, 0.02, 0.05)
DELAYS_S = (0.5, 1.5)
GROWS_AFTER_S, GROWS_FOR_S = 2.0, 3.0


def read(uri: str, seconds: float) -> None:
    """Be the reader: print what every frame says of itself, and what was said of it."""
    if importlib.util.find_spec("danet_runtime.clock") is None:  # no machine is suspended meanwhile
        clock = types.ModuleType("danet_runtime.clock")
        clock.now_ns = time.monotonic_ns  # type: ignore[attr-defined]
        sys.modules[clock.__name__] = clock
    import truth

    from danet_runtime.sources import open_source

    source = open_source(uri)
    buffer = np.empty((*source.size_hw, 3), np.uint8)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        info = source.read_into(buffer)
        if info is None:
            break
        shown = truth.read(buffer)
        if shown is None:
            print(json.dumps(None))
        else:
            print(json.dumps([shown.number, shown.age_ms, (shown.time_ns - info.capture_time_ns) / 1e6]))
    source.close()


def frames_of(code: Path, uri: str, seconds: float) -> list[Any]:
    """The frames that a reader gets with the code of a checkout."""
    path = os.pathsep.join(map(str, (code, SUPPORT, REPOSITORY)))
    command = (sys.executable, "-m", "benchmarks.streaming.cameras", "--read", uri, str(seconds))
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def joins(code: Path) -> dict[str, Any]:
    """Joins between two key frames: how many show corrupt frames, and how many of these."""
    from rtsp_camera import CameraRules, RtspCamera

    def join(number: int) -> list[Any]:
        time.sleep(0.37 * number % 2.0)
        return frames_of(code, camera.uri, 3.0)

    with RtspCamera(CameraRules(key_every=75)) as camera, ThreadPoolExecutor(4) as several:
        delivered = list(several.map(join, range(JOINS)))
    return {
        "joins": JOINS,
        "joins_corrupt": sum(None in frames for frames in delivered),
        "frames": sum(map(len, delivered)),
        "corrupt": sum(frames.count(None) for frames in delivered),
    }


def losses(code: Path) -> list[dict[str, Any]]:
    """By share of the packets that are lost: frames that are shown, and corrupt ones of these."""
    from rtsp_camera import CameraRules, RtspCamera
    from wire import WireRules

    def lose(share: float) -> dict[str, Any]:
        with RtspCamera(CameraRules(key_every=25), WireRules(loss=share, seed=1)) as camera:
            frames = frames_of(code, camera.uri, 12.0)
            whole = len(camera.viewers[-1].decodable())
        return {"lost": share, "frames": len(frames), "corrupt": frames.count(None), "decodable": whole}

    with ThreadPoolExecutor(len(LOSSES)) as several:
        return list(several.map(lose, LOSSES))


def delays(code: Path) -> list[dict[str, Any]]:
    """By delay that comes to be: the true age at last, and the least and largest error of the ages told."""
    from rtsp_camera import CameraRules, RtspCamera
    from wire import WireRules

    def delay(case: tuple[float, bool]) -> dict[str, Any]:
        to_s, reports = case
        began: list[float] = []

        def growing(since_s: float) -> float:
            if not camera.viewers:
                return 0.0
            began[:] = began or [since_s + GROWS_AFTER_S]
            return to_s * min(1.0, max(0.0, (since_s - began[0]) / GROWS_FOR_S))

        with RtspCamera(CameraRules(key_every=15, reports=reports), WireRules(delay_s=growing)) as camera:
            frames = [one for one in frames_of(code, camera.uri, 7.0) if one is not None]
        errors = [error for _, _, error in frames]
        return {
            "delay_s": to_s,
            "reports": reports,
            "age_ms": frames[-1][1],
            "reported_ms": frames[-1][1] + errors[-1],
            "least_error_ms": min(errors),
            "largest_error_ms": max(errors),
        }

    with ThreadPoolExecutor(4) as several:
        return list(several.map(delay, itertools.product(DELAYS_S, (True, False))))


def measure(code: Path) -> dict[str, Any]:
    """All of it, of the code of a checkout."""
    return {"join": joins(code), "loss": losses(code), "delay": delays(code)}


def table_of(measured: dict[str, dict[str, Any]]) -> Table:
    """One column for each code."""
    table = Table("", *measured)
    each = list(measured.values())
    table.add_row(
        f"corrupt frames shown in {JOINS} joins",
        *("{corrupt} of {frames}, in {joins_corrupt} joins".format_map(one["join"]) for one in each),
    )
    for index, share in enumerate(LOSSES):
        cells = ["{corrupt} of {frames}".format_map(one["loss"][index]) for one in each]
        table.add_row(f"corrupt frames shown, {share:.1%} of packets lost", *cells)
    for index, (to_s, reports) in enumerate(itertools.product(DELAYS_S, (True, False))):
        words = "{reported_ms:.0f} of {age_ms:.0f} ms; {least_error_ms:.0f} to {largest_error_ms:.0f} ms"
        cells = [words.format_map(one["delay"][index]) for one in each]
        reported = "reports" if reports else "no reports"
        table.add_row(f"age and its errors, delay grows to {to_s} s, {reported}", *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=Path, help="the folder `runtime` of a checkout to compare with")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--read", nargs=2, metavar=("URI", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.read[0], float(arguments.read[1]))
        return
    sys.path.insert(0, str(SUPPORT))
    from danet_runtime.files.atomic import write_json
    from danet_runtime.machine import describe_machine

    codes = {"this": OWN} | ({"before": arguments.before.resolve()} if arguments.before else {})
    measured = {name: measure(code) for name, code in codes.items()}
    write_json(arguments.output, {"machine": describe_machine(), **measured})
    Console().print(table_of(measured))


if __name__ == "__main__":
    main()
