"""The cost of reading a video file into a buffer: PyAV, as files are read, beside OpenCV, as they were.

The two read the same H.264 file in turn, several times in one run; the ratio counts, of the processor time,
which a loaded machine leaves alone, and of the time by the clock.

python -m benchmarks.streaming.video_reading [--size 1080x1920] [--frames 300] [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine
from danet_runtime.sources.video import VideoSource
from danet_runtime.sources.video_files.capture import InPlaceCapture

RESULTS = results_file("video_reading")


def drawn(path: Path, size_hw: tuple[int, int], frames: int) -> Path:
    """A video of blocks that move."""
    height, width = size_hw
    blocks = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    picture = blocks.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "fast", "crf": "23"})
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        for number in range(frames):
            moved = np.ascontiguousarray(np.roll(picture, (3 * number, 5 * number), (0, 1)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def with_pyav(path: Path) -> int:
    """Read all frames as ``danet`` does."""
    source = VideoSource(path)
    buffer, frames = np.empty((*source.size_hw, 3), np.uint8), 0
    while source.read_into(buffer) is not None:
        frames += 1
    source.close()
    return frames


def with_opencv(path: Path) -> int:
    """Read all frames as ``danet`` does without PyAV."""
    capture = InPlaceCapture(str(path), "CAP_ANY", str(path))
    buffer, frames = np.empty((*capture.size_hw, 3), np.uint8), 0
    while capture.read_into(buffer) is not None:
        frames += 1
    capture.close()
    return frames


def measured(read: Callable[[Path], int], path: Path) -> tuple[float, float]:
    """Milliseconds a frame: of the processor, and by the clock."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    began, before = time.perf_counter(), used()
    frames = read(path)
    return 1e3 * (used() - before) / frames, 1e3 * (time.perf_counter() - began) / frames


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--size", default="1080x1920")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="where to keep what is of another video")
    options = parser.parse_args()
    output = options.output or (None if options.video else RESULTS)
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        size_hw = parse_size(options.size, "--size")
        video = options.video or drawn(Path(folder) / "v.mp4", size_hw, options.frames)
        with closing(VideoSource(video)) as source:
            size_hw = source.size_hw
        rounds = [(measured(with_pyav, video), measured(with_opencv, video)) for _ in range(options.rounds)]
    figures: dict[str, dict[str, float]] = {}
    for place, kind in enumerate(("processor", "clock")):
        new, old = [one[0][place] for one in rounds], [one[1][place] for one in rounds]
        figures[kind] = {
            "pyav_ms": round(statistics.median(new), 2),
            "opencv_ms": round(statistics.median(old), 2),
            "ratio": round(statistics.median(a / b for a, b in zip(new, old, strict=True)), 3),
        }
    table = Table("milliseconds a frame", "PyAV", "OpenCV", "ratio")
    for kind, row in figures.items():
        table.add_row(kind, *(f"{value:g}" for value in row.values()))
    Console().print(table)
    if output is None:
        print(f"not written: {RESULTS.name} is of the drawn video; give --output to keep this")
        return
    write_json(
        output,
        {
            "machine": describe_machine(),
            "load_average_at_start": [round(value, 2) for value in load],
            "size_hw": size_hw,
            "rounds": options.rounds,
            **figures,
        },
    )


if __name__ == "__main__":
    main()
