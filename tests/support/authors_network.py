"""DANet by its authors' names: a file of random weights, and the network as the paper writes it.

Made from the paper's equations and the names alone, with none of the package's modules, so that it can be
held against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

State = dict[str, torch.Tensor]


def _conv(state: State, name: str, out: int, into: int, kernel: int, bias: bool = False) -> None:
    state[f"{name}.weight"] = torch.randn(out, into, kernel, kernel) / (into * kernel**2) ** 0.5
    if bias:
        state[f"{name}.bias"] = 0.1 * torch.randn(out)


def _norm(state: State, name: str, channels: int) -> None:
    state[f"{name}.weight"] = 0.5 + torch.rand(channels)
    state[f"{name}.bias"] = 0.2 * torch.randn(channels)
    state[f"{name}.running_mean"] = 0.2 * torch.randn(channels)
    state[f"{name}.running_var"] = 0.5 + torch.rand(channels)
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


BLOCKS, HEAD, ATTENTION = (3, 4, 6, 3), 8, 4


def authors_file(*, deep: bool, fc: bool = False, base: int = 2, classes: int = 5) -> State:
    torch.manual_seed(0)
    state: State = {}
    stem = 2 * base if deep else base
    if deep:
        for conv, norm, into, out in ((0, 1, 3, base), (3, 4, base, base), (6, None, base, stem)):
            _conv(state, f"pretrained.conv1.{conv}", out, into, 3)
            if norm:
                _norm(state, f"pretrained.conv1.{norm}", out)
    else:
        _conv(state, "pretrained.conv1", stem, 3, 7)
    _norm(state, "pretrained.bn1", stem)
    into = stem
    for level, count in enumerate(BLOCKS):
        width = base * 2**level
        for index in range(count):
            block = f"pretrained.layer{level + 1}.{index}"
            for part, (out, source, kernel) in enumerate(
                ((width, into, 1), (width, width, 3), (4 * width, width, 1)), 1
            ):
                _conv(state, f"{block}.conv{part}", out, source, kernel)
                _norm(state, f"{block}.bn{part}", out)
            if index == 0:
                _conv(state, f"{block}.downsample.0", 4 * width, into, 1)
                _norm(state, f"{block}.downsample.1", 4 * width)
            into = 4 * width
    if fc:
        state["pretrained.fc.weight"], state["pretrained.fc.bias"] = torch.randn(10, into), torch.randn(10)
    for name, source in (("conv5a", into), ("conv5c", into), ("conv51", HEAD), ("conv52", HEAD)):
        _conv(state, f"head.{name}.0", HEAD, source, 3)
        _norm(state, f"head.{name}.1", HEAD)
    for name, out in (("query", ATTENTION), ("key", ATTENTION), ("value", HEAD)):
        _conv(state, f"head.sa.{name}_conv", out, HEAD, 1, bias=True)
    state["head.sa.gamma"], state["head.sc.gamma"] = torch.tensor([0.8]), torch.tensor([-0.6])
    for name in ("conv6.1", "conv7.1", "conv8.1"):
        _conv(state, f"head.{name}", classes, HEAD, 1, bias=True)
    return state


def _normalised(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scaled = (x - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None]
    return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def _convolved(state: State, name: str, x: torch.Tensor, stride: int = 1, dilation: int = 1) -> torch.Tensor:
    weight = state[f"{name}.weight"]
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding, dilation)


def _literal_backbone(state: State, x: torch.Tensor, multi_grid: Sequence[int]) -> torch.Tensor:
    if "pretrained.conv1.weight" in state:
        x = _convolved(state, "pretrained.conv1", x, stride=2)
    else:
        x = _convolved(state, "pretrained.conv1.0", x, stride=2).clone()
        x = _normalised(state, "pretrained.conv1.1", x).clamp(min=0)
        x = _normalised(state, "pretrained.conv1.4", _convolved(state, "pretrained.conv1.3", x)).clamp(min=0)
        x = _convolved(state, "pretrained.conv1.6", x)
    x = F.max_pool2d(_normalised(state, "pretrained.bn1", x).clamp(min=0), 3, 2, 1)
    dilations: list[Sequence[int]] = [[1] * 3, [1] * 4, [1] + [2] * 5, multi_grid]
    for level, of_level in enumerate(dilations, 1):
        for index, dilation in enumerate(of_level):
            name = f"pretrained.layer{level}.{index}"
            stride = 2 if level == 2 and index == 0 else 1
            out = _normalised(state, f"{name}.bn1", _convolved(state, f"{name}.conv1", x)).clamp(min=0)
            out = _convolved(state, f"{name}.conv2", out, stride, dilation)
            out = _normalised(state, f"{name}.bn2", out).clamp(min=0)
            out = _normalised(state, f"{name}.bn3", _convolved(state, f"{name}.conv3", out))
            if index == 0:
                shortcut = _convolved(state, f"{name}.downsample.0", x, stride)
                x = _normalised(state, f"{name}.downsample.1", shortcut)
            x = (x + out).clamp(min=0)
    return x


def _position_attention(state: State, x: torch.Tensor) -> torch.Tensor:
    """Eq. 1 and 2: B, C, D by convolution; s_ji = softmax_i(B_i . C_j); E_j = gamma sum_i s_ji D_i + A_j."""
    query, key, value = (
        _convolved(state, f"head.sa.{name}_conv", x)[0].flatten(1) for name in ("query", "key", "value")
    )
    flat = x[0].flatten(1)
    out = torch.empty_like(flat)
    for j in range(flat.shape[1]):
        weights = torch.stack([torch.exp(query[:, j] @ key[:, i]) for i in range(flat.shape[1])])
        out[:, j] = state["head.sa.gamma"] * (value @ (weights / weights.sum())) + flat[:, j]
    return out.view_as(x)


def _channel_attention(state: State, x: torch.Tensor) -> torch.Tensor:
    """Eq. 3 and 4 with the sign of the code: x_ji = softmax_i(-A_j . A_i)."""
    flat = x[0].flatten(1)
    out = torch.empty_like(flat)
    for j in range(flat.shape[0]):
        energies = torch.stack([-(flat[j] @ flat[i]) for i in range(flat.shape[0])])
        weights = torch.exp(energies - energies.max())
        mixed = sum(weights[i] / weights.sum() * flat[i] for i in range(flat.shape[0]))
        out[j] = state["head.sc.gamma"] * mixed + flat[j]
    return out.view_as(x)


def literal_logits(state: State, x: torch.Tensor, multi_grid: Sequence[int]) -> torch.Tensor:
    """(1, 3, H, W) -> the logits of the sum branch, in the precision of ``state``."""

    def block(name: str, features: torch.Tensor) -> torch.Tensor:
        return _normalised(state, f"head.{name}.1", _convolved(state, f"head.{name}.0", features)).clamp(
            min=0
        )

    c4 = _literal_backbone(state, x, multi_grid)
    position = block("conv51", _position_attention(state, block("conv5a", c4)))
    channel = block("conv52", _channel_attention(state, block("conv5c", c4)))
    return _convolved(state, "head.conv8.1", position + channel)


def saved(folder: Path, state: State, **besides: object) -> Path:
    """Write a file of weights, with whatever else a trainer stores beside them."""
    torch.save({"state_dict": state, **besides}, folder / "c.pth")
    return folder / "c.pth"
