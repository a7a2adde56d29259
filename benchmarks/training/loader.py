"""Samples a second that one worker process loads for training, and where its time goes. Needs no GPU.

The whole way (read, decode, resize, crop, flip, colors, normalise, collate) takes turns with decoding and
resizing alone, batch by batch, in one process with one thread, as a worker of the loader is. Seconds are
those of the processor, so that other work beside does not count. A data set is a folder that you give, or
streets that are drawn for the purpose, which are smoother than photographs.

python -m benchmarks.training.loader [--cityscapes FOLDER] [--camvid FOLDER] [--samples 16] [--output FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from benchmarks.places import results_file
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine
from danet_train.classes import IGNORE
from danet_train.data.augmentation.color import distort, distort_in_fixed_order
from danet_train.data.augmentation.framing import Framed, size_within
from danet_train.data.batches import batches
from danet_train.data.datasets.layouts import open_dataset
from danet_train.data.samples.sample import Dataset, read_image, read_label
from danet_train.data.torch_samples import TrainingSamples, normalise
from danet_train.errors import DanetTrainError, DataError
from danet_train.synthetic.dataset import Scenes, synthesize_dataset
from danet_train.training.config import TrainConfig, read_config

RESULTS = results_file("loader")
BATCH = 4
DRAWN_SCENES = 4


@dataclass(frozen=True)
class Case:
    """One data set as one configuration reads it."""

    name: str
    size_hw: tuple[int, int]
    config: str
    folder: Path | None
    classes: str | None = None


@dataclass
class Stages:
    """Seconds by the name of a stage."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        started = time.thread_time()
        yield
        self.seconds[name] += time.thread_time() - started

    def shares(self) -> dict[str, float]:
        total = sum(self.seconds.values())
        return {name: round(seconds / total, 4) for name, seconds in self.seconds.items()}


def walk_through(dataset: Dataset, config: TrainConfig, index: int, stages: Stages) -> tuple[Tensor, Tensor]:
    """One sample, each stage timed; the stages are those of ``augment`` in the configuration's order."""
    view, rng = config.augmentation, np.random.default_rng(index)
    pair = dataset.pairs[index % len(dataset)]
    with stages.time("decode the image"):
        image = read_image(pair.image)
    with stages.time("decode the labels"):
        values = read_label(pair.label)
    with stages.time("labels to train ids"):
        framed = Framed(image, dataset.classes.decode(values, str(pair.label)))
    with stages.time("resize"):
        framed = framed.resized(drawn_size(framed.size_hw, config, rng))
    with stages.time("pad and crop"):
        if view.kind == "plain":
            framed = framed.padded(view.crop_hw, config.normalisation.mean)
        framed = framed.cropped(view.crop_hw, view.crop_max_ratio, 10, rng)
    with stages.time("flip"):
        framed = framed.mirrored() if rng.random() < view.flip else framed
        framed = Framed(np.ascontiguousarray(framed.image), np.ascontiguousarray(framed.label))
    with stages.time("colors"):
        change = distort_in_fixed_order if view.kind == "plain" else distort
        image = change(framed.image, view, rng)
    with stages.time("normalise"):
        tensor = normalise(image, config.normalisation)
    with stages.time("labels to int64"):
        return pad(tensor, torch.from_numpy(framed.label.astype(np.int64)), view.crop_hw)


def pad(image: Tensor, label: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Image and labels of the crop's size, for views that are padded last."""
    below, right = size_hw[0] - label.shape[0], size_hw[1] - label.shape[1]
    if not below and not right:
        return image, label
    return F.pad(image, (0, right, 0, below)), F.pad(label, (0, right, 0, below), value=IGNORE)


def drawn_size(size_hw: tuple[int, int], config: TrainConfig, rng: np.random.Generator) -> tuple[int, int]:
    """The size that the random resize gives an image."""
    ratio = float(rng.uniform(*config.augmentation.scale))
    return size_within(size_hw, config.augmentation.base_hw or size_hw, ratio)


def decode_and_resize(dataset: Dataset, config: TrainConfig, index: int) -> None:
    """The work that every loader has: OpenCV's decoding and resizing of both files."""
    pair, rng = dataset.pairs[index % len(dataset)], np.random.default_rng(index)
    image = cv2.imread(str(pair.image), cv2.IMREAD_COLOR)
    label = cv2.imread(str(pair.label), cv2.IMREAD_UNCHANGED)
    if image is None or label is None:
        raise DataError(f"expected a picture and labels that OpenCV reads, got {pair.image} and {pair.label}")
    framed = Framed(image.astype(np.uint8, copy=False), label.astype(np.uint8, copy=False))
    framed.resized(drawn_size(framed.size_hw, config, rng))


def measure(case: Case, dataset: Dataset, samples: int) -> dict[str, Any]:
    """The rates of one case, and each stage's share."""
    config = read_config(case.config)
    training = TrainingSamples(dataset, samples, config.augmentation, config.normalisation, seed=0)
    loaded = batches(training, BATCH, workers=0)
    seconds: dict[str, float] = defaultdict(float)
    stages = Stages()
    for first in range(0, samples, BATCH):
        indices = range(first, first + BATCH)
        started = time.thread_time()
        next(loaded)
        seconds["pipeline"] += time.thread_time() - started
        started = time.thread_time()
        for index in indices:
            decode_and_resize(dataset, config, index)
        seconds["decode and resize"] += time.thread_time() - started
        walked = [walk_through(dataset, config, index, stages) for index in indices]
        with stages.time("collate"):
            torch.stack([image for image, _ in walked])
            torch.stack([label for _, label in walked])
    rates = {name: round(samples / spent, 2) for name, spent in seconds.items()}
    return {
        "images": "drawn" if case.folder is None else "photographs",
        "size": f"{case.size_hw[0]}x{case.size_hw[1]}",
        "configuration": case.config,
        "samples": samples,
        "samples_per_second": rates,
        "pipeline_over_decode_and_resize": round(seconds["pipeline"] / seconds["decode and resize"], 3),
        "shares": stages.shares(),
    }


def open_case(case: Case, folder: Path) -> Dataset:
    """The case's data set: the folder that was given, or scenes drawn into ``folder``."""
    if case.folder is not None:
        return open_dataset(case.folder, "train", case.classes)
    root = folder / case.name
    synthesize_dataset(
        root, Scenes(train=DRAWN_SCENES, val=0, video_frames=0, size_hw=case.size_hw, seed=0), workers=1
    )
    return open_dataset(root, "train")


def show(console: Console, measured: dict[str, dict[str, Any]]) -> None:
    rates = Table("samples a second, one process", *measured)
    for name in ("pipeline", "decode and resize"):
        rates.add_row(name, *(f"{row['samples_per_second'][name]:.1f}" for row in measured.values()))
    ratios = (f"{row['pipeline_over_decode_and_resize']:.2f}" for row in measured.values())
    rates.add_row("pipeline's time over decode and resize", *ratios)
    console.print(rates)
    shares = Table("share of the pipeline's time", *measured)
    for name in next(iter(measured.values()))["shares"]:
        shares.add_row(name, *(f"{row['shares'][name]:.1%}" for row in measured.values()))
    console.print(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cityscapes", type=Path, help="Cityscapes in its own layout")
    parser.add_argument("--camvid", type=Path, help="CamVid as a plain folder")
    parser.add_argument("--samples", type=int, default=16, help="of each data set")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.samples < BATCH or arguments.samples % BATCH:
        parser.error(f"--samples must be a multiple of {BATCH}")
    wide, small = "cityscapes_r50_512x1024_80k", "camvid_r18_small"
    cases = [
        Case("Cityscapes, drawn", (1024, 2048), wide, None),
        Case("CamVid, drawn", (360, 480), small, None),
    ]
    if arguments.cityscapes is not None:
        cases.append(Case("Cityscapes", (1024, 2048), wide, arguments.cityscapes))
    if arguments.camvid is not None:
        cases.append(Case("CamVid", (360, 480), small, arguments.camvid, "camvid"))
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    console = Console()
    measured = {}
    with tempfile.TemporaryDirectory() as folder, console.status("") as status:
        for case in cases:
            status.update(f"{case.name}: open")
            dataset = open_case(case, Path(folder))
            status.update(f"{case.name}: load {arguments.samples} samples three times")
            measured[case.name] = measure(case, dataset, arguments.samples)
    show(console, measured)
    write_json(arguments.output, {"machine": describe_machine(), "measured": measured})
    console.print(f"written to {arguments.output}")


if __name__ == "__main__":
    try:
        main()
    except DanetTrainError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
