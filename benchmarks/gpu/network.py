"""The whole DANet in FP16 on a CUDA GPU: eager PyTorch beside the same network with kernels and a graph.

python -m benchmarks.gpu.network [--depth 50 101] [--size 512x1024 1024x2048] [--rounds 20]

Two times: of the GPU alone, by its events, and of frames one after the other by the host's clock, from which
the frames a second come; PyTorch's many small launches are in the second. A form that does not fit the GPU's
memory is recorded as skipped, and the others are measured. Exits 1 where labels are wrong, 0 with a message
where there is no GPU.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.gpu.measurement import (
    DEVICE,
    Candidate,
    exit_code_of,
    gpu_is_missing,
    loop_side_by_side,
    peak_beyond_output,
    record,
    time_side_by_side,
)
from benchmarks.networks import open_attentions
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.wrapper import fold_batch_norm
from danet_export.ops.channel_energy import channel_energy
from danet_export.ops.position_attention import position_attention
from danet_export.ops.upsample_argmax import upsample_argmax
from danet_runtime.bundle.operators import energy_slices
from danet_runtime.cli.options.arguments import parse_size
from danet_train.model.attention import ChannelAttention, PositionAttention
from danet_train.model.backbones.resnet_options import BLOCKS_PER_LAYER
from danet_train.model.danet import DANet, build_model

AGREEMENT = 0.99
"""Least share of pixels whose label is that of the same network in FP32."""
GRAPH = "kernels, graph"
FORMS = ("eager", "kernels", GRAPH)
CALLS_A_ROUND = 10
AIMED_NETWORK, AIMED_GPU, AIMED_FPS = ("R-50", "1024x2048"), "H200", 100.0


class FusedPositionAttention(nn.Module):
    """PAM on the kernel, gamma folded into the values; (B, C, h, w) to (B, C, h, w)."""

    def __init__(self, attention: PositionAttention) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            [attention.query_project, attention.key_project, attention.value_project]
        )
        with torch.no_grad():
            for parameter in attention.value_project.parameters():
                parameter.mul_(attention.gamma.scale)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (project(x).contiguous() for project in self.projections)
        out: Tensor = position_attention(q, k, v, x.contiguous())
        return out


class FusedChannelAttention(nn.Module):
    """CAM with its energies from the kernel; (B, C, h, w) to (B, C, h, w)."""

    def __init__(self, attention: ChannelAttention) -> None:
        super().__init__()
        self.gamma = attention.gamma

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        energy = channel_energy(x, energy_slices(x.shape[2] * x.shape[3])).sum(1)
        attention = torch.softmax(-energy, dim=-1).to(x.dtype)
        out: Tensor = self.gamma((attention @ x.flatten(2)).reshape_as(x)) + x
        return out


class Eager(nn.Module):
    """Image to labels with PyTorch's own operators."""

    def __init__(self, network: DANet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image)
        return F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=False).argmax(1)


class Fused(nn.Module):
    """Image to labels with the three kernels and batch norm folded; made of a network in FP32.

    Folded in FP16, weights would be rounded twice; so the module is made first and then brought to FP16.
    """

    def __init__(self, network: DANet) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        fold_batch_norm(self.network)
        head = self.network.decode_head
        if head.pam is None or head.cam is None:
            raise ValueError("expected a network with both attentions, got one without")
        head.add_module("pam", FusedPositionAttention(head.pam))
        head.add_module("cam", FusedChannelAttention(head.cam))

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image).contiguous()
        out: Tensor = upsample_argmax(logits, image.shape[2], image.shape[3], False)
        return out


@dataclass(frozen=True)
class CapturedNetwork:
    """One CUDA graph of a module on one image.

    Attributes:
        replay: Runs it; returns the same labels tensor each time, (B, H, W).
        pool_bytes: Size of the graph's private memory pool, which holds every intermediate tensor and the
            labels for as long as the graph lives: a replay takes no other memory.
        device_bytes: By which the device's free memory shrank: the pool, and what the driver keeps.
    """

    replay: Candidate
    pool_bytes: int
    device_bytes: int


def captured(module: nn.Module, image: Tensor) -> CapturedNetwork:
    """Capture a module on this image; what is written into the image later, a replay sees."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            module(image)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free_before = torch.cuda.mem_get_info()[0]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        labels: Tensor = module(image)
    graph.replay()  # the driver takes its own memory at the first one
    torch.cuda.synchronize()

    def replay() -> Tensor:
        graph.replay()
        return labels

    taken = free_before - torch.cuda.mem_get_info()[0]
    snapshot = torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call]
    return CapturedNetwork(replay, pool_bytes(snapshot, graph.pool()), max(0, taken))


def pool_bytes(snapshot: list[dict[str, Any]], pool: tuple[int, int]) -> int:
    """Bytes of one memory pool in what ``torch.cuda.memory_snapshot`` tells.

    Raises:
        ValueError: The snapshot knows no segment of this pool.
    """
    sizes = [
        int(segment["total_size"]) for segment in snapshot if tuple(segment["segment_pool_id"]) == tuple(pool)
    ]
    if not sizes:
        raise ValueError(f"the memory snapshot must hold segments of the pool {pool} (got none)")
    return sum(sizes)


def random_network(depth: int) -> DANet:
    """Random weights whose attention matters: both gammas at 1."""
    torch.manual_seed(0)
    network = build_model(depth, aux_channels=0).eval()
    open_attentions(network)
    return network


Result = TypeVar("Result")


def fitting(run: Callable[[], Result]) -> tuple[Result | None, str | None]:
    """A call's result, or why it does not fit the GPU's memory."""
    try:
        return run(), None
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
    torch.cuda.empty_cache()  # after the handler, when the call's tensors are gone
    return None, reason


def in_half(network: DANet) -> tuple[Eager, Fused]:
    """Both networks in FP16, of one in FP32, which becomes the first of them."""
    fused = Fused(network).half()
    return Eager(network.half()), fused


@dataclass(frozen=True)
class Form:
    """One way to run the network that fits the memory.

    Attributes:
        run: Image to labels.
        peak_memory_bytes: Beyond image, weights and labels; of a graph, its whole pool.
        device_bytes: For a graph, by how much the device's free memory shrank; else ``None``.
    """

    run: Candidate
    peak_memory_bytes: int
    device_bytes: int | None = None


def plain_form(module: nn.Module, image: Tensor) -> Form:
    """A module as PyTorch launches it."""

    def run() -> Tensor:
        labels: Tensor = module(image)
        return labels

    run()  # libraries choose and load their kernels at the first call
    return Form(run, peak_beyond_output(run))


def graph_form(module: nn.Module, image: Tensor) -> Form:
    """A module as one CUDA graph."""
    graph = captured(module, image)
    return Form(graph.replay, graph.pool_bytes, graph.device_bytes)


@torch.inference_mode()
def measure(depth: int, size_hw: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Times and memory of each form of one network at one size, or why a form was skipped."""
    network = random_network(depth).to(DEVICE).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(1, 3, *size_hw, device=DEVICE).half().to(memory_format=torch.channels_last)
    # FP32 is the truth: in FP16, eager PyTorch takes CAM's energies in FP16, where they may overflow.
    expected, no_truth = fitting(lambda: Eager(network)(image.float()))
    torch.cuda.empty_cache()
    eager, fused = in_half(network)
    # The graph first: it keeps its pool, beside which the others run while they are timed.
    makers: dict[str, Callable[[], Form]] = {
        GRAPH: lambda: graph_form(fused, image),
        "kernels": lambda: plain_form(fused, image),
        "eager": lambda: plain_form(eager, image),
    }
    made = {name: fitting(maker) for name, maker in makers.items()}
    forms = {name: form for name in FORMS if (form := made[name][0]) is not None}
    runs = {name: form.run for name, form in forms.items()}
    agreement = {
        name: None if expected is None else float((run() == expected).float().mean())
        for name, run in runs.items()
    }
    gpu_times = time_side_by_side(runs, rounds)
    loop_times = loop_side_by_side(runs, rounds, CALLS_A_ROUND)
    figures: dict[str, dict[str, Any]] = {
        name: {
            "label_agreement": agreement[name],
            "peak_memory_bytes": form.peak_memory_bytes,
            "gpu": gpu_times[name].row(),
            "loop": loop_times[name].row(),
            "fps": 1000 / loop_times[name].median_ms,
        }
        for name, form in forms.items()
    }
    return {
        "network": f"R-{depth}",
        "size": "x".join(map(str, size_hw)),
        "weights_bytes": sum(part.nbytes for part in fused.state_dict().values()),
        "graph_device_bytes": forms[GRAPH].device_bytes if GRAPH in forms else None,
        "truth_skipped": no_truth,
        "forms": {name: figures.get(name) or {"skipped": made[name][1]} for name in FORMS},
    }


def targets(rows: list[dict[str, Any]], gpu: str) -> dict[str, dict[str, Any]]:
    """The aim in frames a second and what was reached; told only, and no verdict on another GPU."""
    reached = [
        row["forms"][GRAPH]["fps"]
        for row in rows
        if (row["network"], row["size"]) == AIMED_NETWORK and "fps" in row["forms"][GRAPH]
    ]
    if not reached:
        return {}
    fps = {"aim": AIMED_FPS, "reached": reached[0], "passed": reached[0] >= AIMED_FPS}
    return {"fps": {**fps, "of": " ".join(AIMED_NETWORK), "aimed_gpu": AIMED_GPU in gpu}}


def problems(rows: list[dict[str, Any]]) -> list[str]:
    """Forms of ours whose labels are not those of the FP32 network."""
    return [
        f"{row['network']} {row['size']}, {name}: {agreement:.2%} of the labels are FP32's"
        for row in rows
        for name, form in row["forms"].items()
        if name != "eager"
        and (agreement := form.get("label_agreement")) is not None
        and not agreement >= AGREEMENT
    ]


def show(rows: list[dict[str, Any]], asked: dict[str, dict[str, Any]]) -> None:
    table = Table("network", "size", "form", "fps", "GPU ms", "lowest to highest", "peak MiB", "labels")
    for row in rows:
        if row["truth_skipped"]:
            print(f"{row['network']} {row['size']}: labels not compared, FP32 has no room")
        for name, form in row["forms"].items():
            if "skipped" in form:
                table.add_row(row["network"], row["size"], name, "skipped: no room")
                continue
            gpu, memory = form["gpu"], f"{form['peak_memory_bytes'] / 2**20:.0f}"
            spread = " to ".join(f"{value:.2f}" for value in gpu["milliseconds_range"])
            table.add_row(
                *(row["network"], row["size"], name, f"{form['fps']:.1f}", f"{gpu['milliseconds']:.2f}"),
                *(spread, memory, compared(form["label_agreement"])),
            )
    Console().print(table)
    for target in asked.values():
        verdict = "passed" if target["passed"] else "missed (told only)"
        if not target["aimed_gpu"]:
            verdict = "not asked of this GPU"
        aim = f"aim {target['aim']:g} on an {AIMED_GPU}"
        print(f"aim of {target['of']}: {target['reached']:.1f} fps, {aim}: {verdict}")


def compared(agreement: float | None) -> str:
    """A share of labels in words."""
    return "not compared" if agreement is None else f"{agreement:.2%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    depths = sorted(BLOCKS_PER_LAYER)
    parser.add_argument("--depth", type=int, nargs="+", choices=depths, default=[50, 101])
    parser.add_argument("--size", nargs="+", default=["512x1024", "1024x2048"])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    sizes = [parse_size(size, "--size") for size in arguments.size]
    for size_hw in sizes:
        plan_geometry(size_hw)
    if gpu_is_missing():
        return 0
    torch.backends.cudnn.benchmark = True  # for every form: each convolution's fastest kernel
    rows = []
    for depth in arguments.depth:
        for size_hw in sizes:
            rows.append(measure(depth, size_hw, arguments.rounds))
            torch.cuda.empty_cache()
    asked = targets(rows, torch.cuda.get_device_properties(0).name)
    show(rows, asked)
    print(f"written to {record('network_fp16', {'targets': asked, 'measurements': rows})}")
    wrong = problems(rows)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
