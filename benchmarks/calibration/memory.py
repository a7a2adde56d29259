"""Peak memory of a whole calibration at two numbers of frames, and of reading the frames alone. Needs no GPU.

Each calibration is `danet calibrate` in a process of its own, on drawn scenes, of a small network with random
weights: its accuracy is not asked for. The goal is that four times the frames take at most 5 % more memory.

python -m benchmarks.calibration.memory [--counts 64 256] [--rounds 3] [--method max]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from benchmarks.process import DANET, peak_memory_bytes
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine

if TYPE_CHECKING:
    from danet_train.model.danet import DANet

RESULTS = results_file("calibration_memory")
GOAL = 1.05

_READER = """
import sys
from pathlib import Path
from danet_calibration.images.images import FrameReader, choose_images
folder, count, height, width = sys.argv[1], *map(int, sys.argv[2:])
frames = 0
reader = FrameReader(choose_images(Path(folder), count), (height, width))
while reader.get_next() is not None:
    frames += 1
assert frames == count, frames
"""


def growth(peaks: dict[int, list[int]]) -> float:
    """The peak at the largest count over that at the smallest, each the median of its rounds."""
    return statistics.median(peaks[max(peaks)]) / statistics.median(peaks[min(peaks)])


def measure(
    counts: Sequence[int], rounds: int, command: Callable[[int], Sequence[str]]
) -> dict[int, list[int]]:
    """Peaks of a command at each count, the counts in turn so that a drift of the machine meets all alike."""
    peaks: dict[int, list[int]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            peaks[count].append(peak_memory_bytes(command(count)))
    return peaks


def prepare(folder: Path, size: str, frames: int) -> tuple[Path, Path]:
    """A bundle of a small network, and a folder of scenes in the layout of Cityscapes."""
    import torch

    from danet_train.model.danet import build_model

    torch.manual_seed(0)
    model = build_model(18, base_channels=16, stem_channels=16, head_channels=32, attention_channels=8)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, 0.0, 0.5)
    return export_with_scenes(model, folder, size, frames)


def export_with_scenes(model: DANet, folder: Path, size: str, frames: int) -> tuple[Path, Path]:
    """The bundle of a network, and a folder of ``frames`` drawn scenes of its size."""
    from danet_train.checkpoint import save_checkpoint
    from danet_train.classes import CITYSCAPES

    checkpoint, bundle, scenes = (folder / name for name in ("checkpoint.pt", "bundle", "scenes"))
    save_checkpoint(checkpoint, model.eval(), classes=CITYSCAPES)
    drawn = ("--train", str(frames), "--val", "0", "--video-frames", "0")
    for command in (
        ("export", str(checkpoint), "--size", size, "-o", str(bundle)),
        ("synthesize", str(scenes), "--size", size, *drawn),
    ):
        subprocess.run([*DANET, *command], check=True, stdout=subprocess.DEVNULL)
    return bundle, scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs=2, default=[64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="128x256")
    parser.add_argument("--method", default="max")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    counts: list[int] = sorted(arguments.counts)
    height, width = parse_size(arguments.size, "--size")
    console = Console()
    with tempfile.TemporaryDirectory() as name, console.status("prepare a bundle and scenes") as status:
        folder = Path(name)
        bundle, scenes = prepare(folder, arguments.size, counts[-1])

        def calibrate(count: int) -> Sequence[str]:
            options = ("--data", str(scenes), "--count", str(count), "--method", arguments.method)
            written = ("-o", str(folder / "int8"), "--overwrite")
            # Random weights agree with their FP32 less than trained ones.
            return (*DANET, "calibrate", str(bundle), *options, "--min-agreement", "0.5", *written)

        def read(count: int) -> Sequence[str]:
            return (sys.executable, "-c", _READER, str(scenes), *map(str, (count, height, width)))

        peaks = {}
        for what, command in (("read", read), ("calibrate", calibrate)):
            status.update(f"{what}, {arguments.rounds} rounds at {' and '.join(map(str, counts))} frames")
            peaks[what] = measure(counts, arguments.rounds, command)
    table = Table("peak memory, MiB", *(f"{count} frames" for count in counts), "ratio")
    for what, measured in peaks.items():
        medians = (f"{statistics.median(measured[count]) / 2**20:.1f}" for count in counts)
        table.add_row(what, *medians, f"{growth(measured):.3f}")
    console.print(table)
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "model": f"R-18, 16 base channels, {arguments.size}",
            "method": arguments.method,
            "peak_bytes": peaks,
            "ratio": {what: growth(measured) for what, measured in peaks.items()},
            "goal": GOAL,
        },
    )
    console.print(f"written to {arguments.output}")
    if growth(peaks["calibrate"]) > GOAL:
        raise SystemExit(f"the calibration's memory grows with its frames: more than {GOAL - 1:.0%}")


if __name__ == "__main__":
    main()
