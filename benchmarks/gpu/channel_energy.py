"""Three forms of the channel attention on the GPU at hand, and the upsampling: first right, then timed.

python benchmarks/gpu/channel_energy.py [--tokens 8192 9409 32768] [--dtype fp16] [--rounds 20]

Energies as an FP32 MatMul of FP32 copies, as a row-block kernel with the softmax inside, and as partial sums
(the form that is kept); each up to the C x C map. Then UpsampleArgmax against PyTorch's two operators. Exits
1 where a result is wrong, 0 with a message where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measurement import Candidate, peak_beyond_output, record, relative_error, time_side_by_side
from rich.console import Console
from rich.table import Table
from torch import Tensor

from danet_export import reference_ops
from danet_export.attention_ops import energy_slices
from danet_export.geometry import plan_geometry

CHANNELS, CLASSES = 512, 19
SIZES = {8192: (512, 1024), 9409: (769, 769), 32768: (1024, 2048)}
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
ROWS, POSITIONS = 16, 32
SCALE = 0.02
"""Of the features: small enough that the softmax over channels is no selection."""


def map_of(energy: Tensor, dtype: torch.dtype) -> Tensor:
    """softmax(-E), FP32 until the end."""
    return torch.softmax(-energy, dim=-1).to(dtype)


def matmul_map(x: Tensor) -> Tensor:
    """Through FP32 copies and an FP32 MatMul."""
    flat = x.flatten(2).float()
    return map_of(flat @ flat.transpose(1, 2), x.dtype)


def row_block_map(x: Tensor) -> Tensor:
    """Through the kernel that was not kept."""
    from row_block import channel_map

    output = torch.empty((1, CHANNELS, CHANNELS), device=x.device, dtype=x.dtype)
    sizes = {"CHANNELS": CHANNELS, "TOKENS": x[0, 0].numel(), "BLOCK_C": ROWS, "BLOCK_N": POSITIONS}
    channel_map[(CHANNELS // ROWS,)](x, output, **sizes, num_warps=8, num_stages=2, enable_fp_fusion=True)
    return output


def partial_sum_map(x: Tensor) -> Tensor:
    """Through ChannelEnergy, as the exported network has it."""
    energy = torch.ops.danet.channel_energy(x, energy_slices(x[0, 0].numel()))
    return map_of(energy.sum(1), x.dtype)


def measure_maps(tokens: int, dtype: torch.dtype, rounds: int) -> list[dict[str, Any]]:
    """Error, time and memory of the three forms."""
    x = torch.randn(1, CHANNELS, 1, tokens, device="cuda").mul(SCALE).to(dtype)
    flat = x.flatten(2).double()
    expected = torch.softmax(-(flat @ flat.transpose(1, 2)), dim=-1)
    candidates: dict[str, Candidate] = {
        "FP32 MatMul": lambda: matmul_map(x),
        "row block": lambda: row_block_map(x),
        "partial sums": lambda: partial_sum_map(x),
    }
    rows = {
        name: {
            "tokens": tokens,
            "candidate": name,
            "relative_error": relative_error(candidate(), expected),
            "memory_beyond_output_bytes": peak_beyond_output(candidate),
        }
        for name, candidate in candidates.items()
    }
    for name, milliseconds in time_side_by_side(candidates, rounds).items():
        rows[name]["milliseconds"] = milliseconds
    return list(rows.values())


def measure_upsampling(tokens: int, dtype: torch.dtype, rounds: int) -> list[dict[str, Any]]:
    """Disagreement with the exact FP32 reference, time and memory."""
    geometry = plan_geometry(SIZES[tokens])
    logits = torch.randn(1, CLASSES, *geometry.logits_hw, device="cuda").mul(4).to(dtype)
    height, width = geometry.frame_hw
    expected = reference_ops.upsample_argmax(
        logits.float().cpu().numpy(), geometry.frame_hw, geometry.align_corners, dtype=np.float32
    )

    def plain() -> Tensor:
        scores = F.interpolate(logits, (height, width), mode="bilinear", align_corners=geometry.align_corners)
        return scores.argmax(1).to(dtype)

    candidates: dict[str, Candidate] = {
        "interpolate, argmax": plain,
        "UpsampleArgmax": lambda: torch.ops.danet.upsample_argmax(
            logits, height, width, geometry.align_corners
        ),
    }
    rows = {
        name: {
            "tokens": tokens,
            "candidate": name,
            "wrong_labels": int((candidate().double().cpu().numpy() != expected).sum()),
            "memory_beyond_output_bytes": peak_beyond_output(candidate),
        }
        for name, candidate in candidates.items()
    }
    for name, milliseconds in time_side_by_side(candidates, rounds).items():
        rows[name]["milliseconds"] = milliseconds
    return list(rows.values())


def problems(rows: list[dict[str, Any]], dtype: str) -> list[str]:
    """What is wrong with our own candidates."""
    tolerance = 2e-3 if dtype == "fp16" else 1.5e-2
    return [
        f"{row['candidate']} at N={row['tokens']}: {row}"
        for row in rows
        if (row["candidate"] == "partial sums" and not row["relative_error"] <= tolerance)
        or (
            row["candidate"] == "UpsampleArgmax"
            and (row["wrong_labels"] or row["memory_beyond_output_bytes"])
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtype", choices=DTYPES, default="fp16")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: no CUDA GPU here (torch.cuda.is_available() is false); nothing was measured")
        return 0
    from danet_export.kernels import torch_ops  # noqa: F401 - registers torch.ops.danet

    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    rows: list[dict[str, Any]] = []
    for tokens in arguments.tokens:
        rows += measure_maps(tokens, DTYPES[arguments.dtype], arguments.rounds)
        rows += measure_upsampling(tokens, DTYPES[arguments.dtype], arguments.rounds)
    table = Table("N", "", "ms", "memory", "error or wrong labels")
    for row in rows:
        wrong = f"{row['relative_error']:.1e}" if "relative_error" in row else str(row["wrong_labels"])
        memory = f"{row['memory_beyond_output_bytes'] / 2**20:.1f} MiB"
        table.add_row(str(row["tokens"]), row["candidate"], f"{row['milliseconds']:.3f}", memory, wrong)
    Console().print(table)
    path = record(f"channel_energy_{arguments.dtype}", {"measurements": rows})
    wrong_lines = problems(rows, arguments.dtype)
    for line in wrong_lines:
        print(f"wrong: {line}", file=sys.stderr)
    print(f"written to {path}")
    return 1 if wrong_lines else 0


if __name__ == "__main__":
    sys.exit(main())
