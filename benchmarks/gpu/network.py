"""The whole DANet in FP16 on a CUDA GPU: eager PyTorch beside the same network with kernels and a graph.

python benchmarks/gpu/network.py [--depth 50 101] [--size 512x1024 1024x2048] [--rounds 20]
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measurement import peak_beyond_output, record, time_side_by_side
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from danet_export.attention_ops import energy_slices
from danet_export.kernels import torch_ops
from danet_export.wrapper import fold_batch_norm
from danet_runtime.commands.arguments import parse_size
from danet_train.model.attention import ChannelAttention, PositionAttention
from danet_train.model.danet import DANet, build_model

AGREEMENT = 0.99


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
        out: Tensor = torch_ops.position_attention(q, k, v, x.contiguous())
        return out


class FusedChannelAttention(nn.Module):
    """CAM with its energies from the kernel; (B, C, h, w) to (B, C, h, w)."""

    def __init__(self, attention: ChannelAttention) -> None:
        super().__init__()
        self.gamma = attention.gamma

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        energy = torch_ops.channel_energy(x, energy_slices(x.shape[2] * x.shape[3])).sum(1)
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
    """Image to labels with the three kernels and batch norm folded."""

    def __init__(self, network: DANet) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        fold_batch_norm(self.network)
        head = self.network.decode_head
        head.add_module("pam", FusedPositionAttention(head.pam))
        head.add_module("cam", FusedChannelAttention(head.cam))

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image).contiguous()
        out: Tensor = torch_ops.upsample_argmax(logits, image.shape[2], image.shape[3], False)
        return out


def captured(module: nn.Module, image: Tensor) -> Callable[[], Tensor]:
    """Replay of one CUDA graph of the module on this image."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            module(image)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        labels = module(image)

    def replay() -> Tensor:
        graph.replay()
        return labels

    return replay


def random_network(depth: int) -> DANet:
    """Random weights whose attention matters: both gammas at 1."""
    torch.manual_seed(0)
    network = build_model(depth, aux_channels=0).eval()
    with torch.no_grad():
        network.decode_head.pam.gamma.scale.fill_(1)
        network.decode_head.cam.gamma.scale.fill_(1)
    return network


@torch.inference_mode()
def measure(depth: int, size_hw: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Times and memory of one network at one size."""
    network = random_network(depth).cuda().to(memory_format=torch.channels_last)
    image = torch.randn(1, 3, *size_hw, device="cuda").half().to(memory_format=torch.channels_last)
    # FP32 is the truth: in FP16, eager PyTorch takes CAM's energies in FP16, where they may overflow.
    expected = Eager(network)(image.float())
    torch.cuda.empty_cache()
    network = network.half()
    eager, fused = Eager(network), Fused(network).cuda()
    replay = captured(fused, image)
    forms = {"eager": lambda: eager(image), "kernels": lambda: fused(image), "kernels, graph": replay}
    agreement = {name: float((form() == expected).float().mean()) for name, form in forms.items()}
    memory = {
        "eager": peak_beyond_output(lambda: eager(image)),
        "kernels": peak_beyond_output(lambda: fused(image)),
    }
    times = time_side_by_side(forms, rounds)
    return {
        "network": f"R-{depth}",
        "size": "x".join(map(str, size_hw)),
        "label_agreement": agreement,
        "milliseconds": times,
        "fps": {name: 1000 / value for name, value in times.items()},
        "peak_memory_bytes": memory,
    }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("network", "size", "form", "ms", "fps", "peak MiB")
    for row in rows:
        for form, milliseconds in row["milliseconds"].items():
            memory = row["peak_memory_bytes"].get(form)
            shown = "-" if memory is None else f"{memory / 2**20:.0f}"
            table.add_row(
                row["network"], row["size"], form, f"{milliseconds:.2f}", f"{1000 / milliseconds:.1f}", shown
            )
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, nargs="+", default=[50, 101])
    parser.add_argument("--size", nargs="+", default=["512x1024", "1024x2048"])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: no CUDA GPU here (torch.cuda.is_available() is false); nothing was measured")
        return 0
    rows = []
    for depth in arguments.depth:
        for size in arguments.size:
            rows.append(measure(depth, parse_size(size, "--size"), arguments.rounds))
            torch.cuda.empty_cache()
    show(rows)
    print(f"written to {record('network_fp16', {'measurements': rows})}")
    wrong = [
        row
        for row in rows
        if min(row["label_agreement"]["kernels"], row["label_agreement"]["kernels, graph"]) < AGREEMENT
    ]
    for row in wrong:
        print(
            f"wrong: {row['network']} {row['size']} agrees with FP32 on {row['label_agreement']}",
            file=sys.stderr,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
