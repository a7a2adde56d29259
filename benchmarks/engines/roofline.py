"""FLOPs and bytes of DANet by module, and how long a device takes for them at least: the roofline.

Counted from the shapes of the network without memory (torch's meta device), so that nothing is computed. Each
module reads its input and its weights once and writes its output once, in FP16; what stays in a cache between
modules would be less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from danet_export.graph.geometry import plan_geometry
from danet_export.graph.wrapper import operator_sizes
from danet_train.model.config import DANetConfig
from danet_train.model.danet import build_model

_HALF: Final = 2  # bytes
_TILES: Final = (10, 16)
"""Tiles of CAM's energies that are computed, of all: those on and above the diagonal."""


@dataclass(frozen=True)
class Peak:
    """A device's peaks.

    Attributes:
        arch: Its architecture.
        multiprocessors: Their number.
        clock_ghz: The clock of the peak.
        tflops: Dense FP16 with FP32 sums.
        gigabytes_per_second: The bandwidth of its memory.
        source: Where the figures stand.
    """

    arch: str
    multiprocessors: int
    clock_ghz: float
    tflops: float
    gigabytes_per_second: float
    source: str


PEAKS: Final = {
    "Jetson AGX Orin 64GB": Peak(
        *("sm_87", 16, 1.3, 42.5, 204.8),
        "NVIDIA Jetson AGX Orin Series Technical Brief: 170 sparse INT8 TOPS of the GPU, a quarter of it",
    ),
    "Jetson Orin NX 16GB": Peak(
        *("sm_87", 8, 0.918, 15.0, 102.4),
        "NVIDIA Jetson Orin NX Series Data Sheet: 60 sparse INT8 TOPS of the GPU, a quarter of it",
    ),
    "Jetson AGX Thor": Peak(
        *("sm_110", 20, 1.575, 258.0, 273.0),
        "NVIDIA Jetson Thor Series Data Sheet: 2070 sparse FP4 TFLOPS, an eighth of it",
    ),
    "RTX 4090": Peak(*("sm_89", 128, 2.52, 165.2, 1008.0), "NVIDIA Ada GPU Architecture, appendix A"),
    "A100 SXM 80GB": Peak(*("sm_80", 108, 1.41, 312.0, 2039.0), "NVIDIA A100 Tensor Core GPU Datasheet"),
    "H200 SXM": Peak(
        *("sm_90", 132, 1.83, 989.5, 4800.0), "NVIDIA H200 Tensor Core GPU Datasheet: 1979 sparse, half of it"
    ),
}
"""Devices by name."""


@dataclass(frozen=True)
class Module:
    """The multiplications and additions of a module, and the bytes that it moves at least."""

    name: str
    flops: int
    bytes: int


def seconds(module: Module, peak: Peak) -> float:
    """The least time that a device takes for a module."""
    return max(module.flops / (peak.tflops * 1e12), module.bytes / (peak.gigabytes_per_second * 1e9))


def modules(layers: int, size: tuple[int, int]) -> list[Module]:
    """Count a network by module, in the order of its layers; convolutions, attention and upsampling alone.

    Args:
        layers: Layers of the ResNet, 50 or 101.
        size: Height and width of the frame.
    """
    found: dict[str, list[int]] = {}
    for name, flops, moved in [*_convolutions(layers, size), *_operators(size)]:
        sums = found.setdefault(name, [0, 0])
        sums[0] += flops
        sums[1] += moved
    return [Module(name, *sums) for name, sums in found.items()]


def _convolutions(layers: int, size: tuple[int, int]) -> list[tuple[str, int, int]]:
    """Each convolution of the network without its auxiliary head: group, FLOPs and bytes."""
    with torch.device("meta"):
        network = build_model(layers).eval()
    counted: list[tuple[str, int, int]] = []

    def count(name: str, layer: nn.Conv2d, given: torch.Tensor, made: torch.Tensor) -> None:
        kernel = layer.weight.numel() // layer.out_channels
        elements = given.numel() + made.numel() + layer.weight.numel()
        counted.append((name, 2 * made.numel() * kernel, _HALF * elements))

    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and not name.startswith("aux"):
            layer.register_forward_hook(_hook(_group(name), count))
    network(torch.empty(1, 3, *size, device="meta"))
    return counted


def _hook(name: str, count: Any) -> Any:  # noqa: ANN401 - torch's own signature of hooks
    return lambda layer, given, made: count(name, layer, given[0], made)


def _group(name: str) -> str:
    """A stage of the backbone, or one of the head's convolutions."""
    parts = name.split(".")
    if parts[0] == "backbone":
        return " ".join(parts[:2])
    return "PAM's query, key and value" if parts[1] == "pam" else parts[1]


def _operators(size: tuple[int, int]) -> Iterator[tuple[str, int, int]]:
    """The attention and the upsampling, as their kernels compute them."""
    problem = operator_sizes(DANetConfig(), plan_geometry(size))
    position, channel, labels = (
        problem[name] for name in ("PositionAttention", "ChannelEnergy", "UpsampleArgmax")
    )
    tokens, d_qk, d_v = position["tokens"], position["d_qk"], position["d_v"]
    moved = 2 * d_qk * tokens + 3 * d_v * tokens
    yield "PositionAttention", 2 * tokens * tokens * (d_qk + d_v), _HALF * moved
    channels, sums = channel["channels"], channel["slices"] * channel["channels"] ** 2
    products = 2 * channels * channels * tokens
    yield (
        "ChannelEnergy",
        products * _TILES[0] // _TILES[1],
        _HALF * channels * tokens + 4 * sums,
    )
    yield "CAM's product with the features", products, _HALF * 3 * channels * tokens
    logits = labels["classes"] * labels["logits_height"] * labels["logits_width"]
    yield "UpsampleArgmax", 0, _HALF * (logits + labels["height"] * labels["width"])
