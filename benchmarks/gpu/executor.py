"""Frames from host memory to labels in host memory on a CUDA GPU: one after the other, and overlapped.

python -m benchmarks.gpu.executor [--depth 50] [--size 512x1024 1024x2048] [--frames 200]

The network has random weights and runs on our kernels in FP16, in the runtime's own executor: the class that
TensorRT's engines run in. Then the same executor in the runtime's own loop, as a backend that overlaps and as
one that does not. Exits 1 where any label differs from the network's own, 0 with a message where there is no
GPU.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.gpu.measurement import DEVICE, gpu_is_missing, record
from benchmarks.gpu.network import Fused, random_network
from benchmarks.streaming.stand_ins import OPTIONS, Ticks, bundle_of
from danet_runtime import Bundle, Segmenter, Stream
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.frames.arrays import UInt8Array, page_aligned
from danet_runtime.tensorrt.cuda.executor import Executor
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.timing import DeviceTimes

PICTURES = 4
AGREEMENT = 0.999
"""Least share of equal labels of one picture: kernels need not add up in the same order each time."""
FORMS = {
    "one after the other": (1, False, False),
    "one after the other, graph": (1, True, False),
    "2 slots": (2, False, False),
    "2 slots, graph": (2, True, False),
    "2 slots, graph, locked buffers": (2, True, True),
    "3 slots, graph, locked buffers": (3, True, True),
}
"""How many slots, whether a graph, and whether the GPU copies from and to the caller's own memory."""


class At:
    """Memory at an address, for ``torch.as_tensor``."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            **{"shape": shape, "typestr": "|u1", "data": (address, False)},
            **{"strides": None, "version": 3, "stream": None},
        }


def tensor_at(address: int, shape: tuple[int, ...]) -> Tensor:
    """The memory itself, not a copy."""
    return torch.as_tensor(At(address, shape), device=DEVICE)


def open_session() -> CudaSession:
    """PyTorch's own context."""
    torch.empty(1, device=DEVICE)
    return CudaSession()


class Model:
    """A network as an executor takes it."""

    def __init__(self, network: Fused, size_hw: tuple[int, int]) -> None:
        self.network = network
        self.frame_shape, self.labels_shape = (1, *size_hw, 3), (1, *size_hw)

    def labels(self, frame: Tensor) -> Tensor:
        """The labels of a frame (1, H, W, 3) uint8 BGR: (1, H, W) uint8."""
        image = ((frame.float() - 114) / 58).permute(0, 3, 1, 2).half()
        labels: Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return labels.to(torch.uint8)

    def bind(self, inputs: dict[str, int], outputs: dict[str, int]) -> Callable[[int], None]:
        """See :class:`danet_runtime.tensorrt.cuda.executor_slot.Bind`."""
        return partial(self.enqueue, inputs=inputs, outputs=outputs)

    @torch.inference_mode()
    def enqueue(self, stream: int, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Run the network on a stream."""
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):  # type: ignore[no-untyped-call]
            labels = self.labels(tensor_at(inputs["frame"], self.frame_shape))
            tensor_at(outputs["labels"], self.labels_shape).copy_(labels)

    def executor(self, slots: int, graph: bool) -> Executor:
        """An executor of its own."""
        return Executor(
            open_session(), self.bind, self.frame_shape, self.labels_shape, depth=slots, graph=graph
        )


class InLoop:
    """An executor as a backend that takes one frame after the other."""

    name = "executor"

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.executor.collect(self.executor.submit(frame, labels))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def close(self) -> None:
        self.executor.close()


class Overlapped(InLoop):
    """The same, with the next frame under way."""

    def __init__(self, executor: Executor) -> None:
        super().__init__(executor)
        self.depth = executor.depth

    def submit(self, frame: UInt8Array, labels: UInt8Array) -> int:
        return self.executor.submit(frame, labels)

    def collect(self, ticket: int) -> DeviceTimes:
        return self.executor.collect(ticket)

    def pin(self, *buffers: UInt8Array) -> None:
        self.executor.pin(*buffers)

    def unpin(self, *buffers: UInt8Array) -> None:
        self.executor.unpin(*buffers)


def picture(draw: np.random.Generator, size_hw: tuple[int, int]) -> UInt8Array:
    """(1, H, W, 3): patches of color with noise, which a network tells apart better than noise alone."""
    rows, columns = size_hw[0] // 32, size_hw[1] // 32
    patches = draw.integers(0, 224, (rows, columns, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    made = page_aligned((1, *patches.shape))
    made[0] = patches + draw.integers(0, 32, patches.shape, np.uint8)
    return made


def drive(
    executor: Executor, pictures: list[UInt8Array], frames: int, locked: bool
) -> tuple[float, list[DeviceTimes], int]:
    """Seconds, the GPU's times of each frame, and frames with a label of another picture's or run's."""
    targets = [page_aligned(executor.labels_shape) for _ in range(executor.depth)]
    if locked:
        executor.pin(*pictures, *targets)
    truths: dict[int, UInt8Array] = {}
    for number, picture in enumerate(pictures):  # warms up; alone, so that nothing can be mixed up
        executor.collect(executor.submit(picture, targets[0]))
        truths[number] = targets[0].copy()
    flying: deque[tuple[int, int]] = deque()
    times, wrong = [], 0
    started = time.perf_counter()
    for number in range(frames + executor.depth):
        labels = targets[number % executor.depth]
        if number >= executor.depth:
            picture_number, ticket = flying.popleft()
            times.append(executor.collect(ticket))
            wrong += not np.mean(labels == truths[picture_number]) >= AGREEMENT
        if number < frames:
            flying.append((number % PICTURES, executor.submit(pictures[number % PICTURES], labels)))
    return time.perf_counter() - started, times, wrong


def loop_fps(backend: InLoop, bundle: Bundle, size_hw: tuple[int, int], frames: int) -> float:
    """Frames a second of a stream whose source is never the slow one."""
    with Segmenter(bundle, backend=backend) as segmenter:
        return Stream(segmenter, Ticks(size_hw, 0.0, frames, live=False), options=OPTIONS).run().fps


@torch.inference_mode()
def measure(depth: int, size_hw: tuple[int, int], frames: int, bundle: Bundle) -> dict[str, Any]:
    """All forms of one network at one size; the bundle gives the loop its frame size, and no model."""
    plain = random_network(depth).to(DEVICE).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = Fused(plain.half()).to(DEVICE)
    model = Model(network, size_hw)
    draw = np.random.default_rng(0)
    pictures = [picture(draw, size_hw) for _ in range(PICTURES)]
    own = [model.labels(torch.from_numpy(picture).to(DEVICE)).cpu().numpy() for picture in pictures]
    forms: dict[str, dict[str, Any]] = {}
    for name, (slots, graph, locked) in FORMS.items():
        executor = model.executor(slots, graph)
        try:
            seconds, times, wrong = drive(executor, pictures, frames, locked)
            labels = np.empty(executor.labels_shape, np.uint8)
            executor.collect(executor.submit(pictures[0], labels))
            forms[name] = {
                "fps": frames / seconds,
                "graph": executor.graph,
                "host_copies": executor.host_copies,
                "frames_wrong": wrong,
                "label_agreement": float(np.mean(labels == own[0])),
                **dict(zip(DeviceTimes._fields, np.median(times, axis=0).tolist(), strict=True)),
            }
        finally:
            executor.close()
    loop = {
        "one_after_the_other_fps": loop_fps(InLoop(model.executor(1, True)), bundle, size_hw, frames),
        "overlapped_fps": loop_fps(Overlapped(model.executor(2, True)), bundle, size_hw, frames),
    }
    return {
        "network": f"R-{depth}",
        "size": "x".join(map(str, size_hw)),
        "pictures_agree": max(float(np.mean(a == b)) for a, b in itertools.combinations(own, 2)),
        "forms": forms,
        "loop": loop,
    }


def problems(rows: list[dict[str, Any]]) -> list[str]:
    """Frames that got another's labels, and labels that are not the network's."""
    return [
        f"{row['network']} {row['size']}, {name}: {form['frames_wrong']} frames with wrong labels, "
        f"{form['label_agreement']:.2%} of the labels are the network's own"
        for row in rows
        for name, form in row["forms"].items()
        if form["frames_wrong"] or not form["label_agreement"] >= AGREEMENT
    ] + [
        f"{row['network']} {row['size']}: the pictures' labels are too alike to tell frames apart"
        for row in rows
        if not row["pictures_agree"] < AGREEMENT
    ]


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("network", "size", "form", "fps", "upload ms", "inference ms", "download ms", "graph")
    for row in rows:
        for name, form in row["forms"].items():
            stages = [f"{form[stage]:.2f}" for stage in DeviceTimes._fields]
            table.add_row(row["network"], row["size"], name, f"{form['fps']:.1f}", *stages, form["graph"])
        for name, fps in row["loop"].items():
            table.add_row(row["network"], row["size"], f"in the loop: {name}", f"{fps:.1f}", "", "", "", "")
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, nargs="+", default=[50])
    parser.add_argument("--size", nargs="+", default=["512x1024", "1024x2048"])
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    if gpu_is_missing():
        return 0
    rows = []
    for size_hw in [parse_size(size, "--size") for size in arguments.size]:
        with tempfile.TemporaryDirectory() as folder:
            bundle = bundle_of(size_hw, Path(folder))
            rows += [measure(depth, size_hw, arguments.frames, bundle) for depth in arguments.depth]
    show(rows)
    print(f"written to {record('executor', {'measurements': rows})}")
    wrong = problems(rows)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
