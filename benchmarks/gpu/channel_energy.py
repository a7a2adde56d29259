"""The forms of the channel attention on the GPU at hand, and the upsampling: first right, then timed.

python -m benchmarks.gpu.channel_energy [--tokens 8192 9409 32768] [--dtype fp16] [--rounds 20]

Energies as a MatMul with FP32 output (of FP32 copies, as a strongly typed network must; and of the features
as they are, where PyTorch has it), as a row-block kernel with the softmax inside, and as partial sums (the
form that is kept); each up to the C x C map. Then UpsampleArgmax against PyTorch's two operators. Exits 1
where a result is wrong, 0 with a message where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.gpu.cases import (
    DTYPES,
    SIZES,
    TOLERANCE,
    draw_features,
    draw_logits,
    labels_reference,
    problem,
)
from benchmarks.gpu.measurement import (
    DEVICE,
    Candidate,
    exit_code_of,
    gpu_is_missing,
    peak_beyond_output,
    record,
    relative_error,
    time_side_by_side,
)
from benchmarks.gpu.own_kernels import has_bf16
from danet_runtime.bundle.operators import energy_slices

ROWS, POSITIONS = 16, 32
KEPT, OWN_UPSAMPLING = "partial sums", "UpsampleArgmax"


def map_of(energy: Tensor, dtype: torch.dtype) -> Tensor:
    """softmax(-E) of (1, C, C), FP32 until the end."""
    return torch.softmax(-energy, dim=-1).to(dtype)


def copies_map(x: Tensor) -> Tensor:
    """Through FP32 copies and an FP32 MatMul; (1, C, h, w) to (1, C, C)."""
    flat = x.flatten(2).float()
    return map_of(flat @ flat.transpose(1, 2), x.dtype)


def matmul_map(x: Tensor) -> Tensor:
    """Through a MatMul of the features with an FP32 output; (1, C, h, w) to (1, C, C)."""
    flat = x.flatten(2)
    return map_of(torch.bmm(flat, flat.transpose(1, 2), out_dtype=torch.float32), x.dtype)


def row_block_map(x: Tensor) -> Tensor:
    """Through the kernel that was not kept; (1, C, h, w) to (1, C, C)."""
    from benchmarks.gpu.kernels.row_block import channel_map

    channels = x.shape[1]
    output = torch.empty((1, channels, channels), device=x.device, dtype=x.dtype)
    sizes = {"CHANNELS": channels, "TOKENS": x[0, 0].numel(), "BLOCK_C": ROWS, "BLOCK_N": POSITIONS}
    channel_map[(channels // ROWS,)](x, output, **sizes, num_warps=8, num_stages=2, enable_fp_fusion=True)
    return output


def partial_sum_map(x: Tensor) -> Tensor:
    """Through ChannelEnergy, as the exported network has it; (1, C, h, w) to (1, C, C)."""
    energy = torch.ops.danet.channel_energy(x, energy_slices(x[0, 0].numel()))
    return map_of(energy.sum(1), x.dtype)


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "FP32 copies, MatMul": copies_map,
    "MatMul, FP32 output": matmul_map,
    "row block": row_block_map,
    KEPT: partial_sum_map,
}


def measure(
    tokens: int,
    candidates: Mapping[str, Candidate],
    judge: Callable[[Tensor], dict[str, Any]],
    rounds: int,
) -> list[dict[str, Any]]:
    """Judgement, memory and time of each candidate, or why it did not run; ours must.

    Args:
        tokens: N, for the record.
        candidates: By name.
        judge: What is recorded of a result's truth.
        rounds: Rounds of the timing.
    """
    rows: dict[str, dict[str, Any]] = {}
    running = dict(candidates)
    for name, candidate in candidates.items():
        rows[name] = {"tokens": tokens, "candidate": name}
        try:
            rows[name] |= judge(candidate())
            rows[name]["memory_beyond_output_bytes"] = peak_beyond_output(candidate)
        except Exception as error:
            if name in (KEPT, OWN_UPSAMPLING):
                raise
            rows[name]["refused"] = (str(error).splitlines() or [type(error).__name__])[0][:160]
            del running[name]
    for name, timing in time_side_by_side(running, rounds).items():
        rows[name] |= timing.row()
    return list(rows.values())


def measure_maps(tokens: int, dtype: torch.dtype, rounds: int) -> list[dict[str, Any]]:
    """The forms of the map."""
    x = draw_features(tokens, dtype).to(DEVICE)
    flat = x.flatten(2).double()
    expected = torch.softmax(-(flat @ flat.transpose(1, 2)), dim=-1)

    def bound(form: Callable[[Tensor], Tensor]) -> Candidate:
        return lambda: form(x)

    candidates = {name: bound(form) for name, form in FORMS.items()}
    return measure(tokens, candidates, lambda got: {"relative_error": relative_error(got, expected)}, rounds)


def measure_upsampling(tokens: int, dtype: torch.dtype, rounds: int) -> list[dict[str, Any]]:
    """UpsampleArgmax and what it replaces: how many labels are not those of FP32 NumPy."""
    logits = draw_logits(tokens, dtype)
    expected = labels_reference(logits, tokens)
    logits = logits.to(DEVICE)
    sizes = problem(tokens)["UpsampleArgmax"]
    height, width, align_corners = sizes["height"], sizes["width"], bool(sizes["align_corners"])

    def plain() -> Tensor:
        scores = F.interpolate(logits, (height, width), mode="bilinear", align_corners=align_corners)
        return scores.argmax(1).to(dtype)

    candidates: dict[str, Candidate] = {
        "interpolate, argmax": plain,
        OWN_UPSAMPLING: lambda: torch.ops.danet.upsample_argmax(logits, height, width, align_corners),
    }
    return measure(
        tokens, candidates, lambda got: {"wrong_labels": int((got.double().cpu() != expected).sum())}, rounds
    )


def problems(rows: list[dict[str, Any]], dtype: str) -> list[str]:
    """The failures of our own candidates."""
    found = []
    for row in rows:
        where = f"{row['candidate']} at N={row['tokens']}"
        if row["candidate"] == KEPT and not row["relative_error"] <= TOLERANCE[dtype]:
            found.append(f"{where}: relative error {row['relative_error']:.1e} > {TOLERANCE[dtype]:.1e}")
        if row["candidate"] == OWN_UPSAMPLING and row["wrong_labels"]:
            found.append(f"{where}: {row['wrong_labels']} labels are not the reference's")
        if row["candidate"] == OWN_UPSAMPLING and row["memory_beyond_output_bytes"]:
            found.append(f"{where}: {row['memory_beyond_output_bytes']} bytes beyond inputs and output")
    return found


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("N", "", "ms", "memory", "error or wrong labels")
    for row in rows:
        names = (str(row["tokens"]), row["candidate"])
        if "refused" in row:
            table.add_row(*names, "refused", "", row["refused"][:40])
            continue
        wrong = f"{row['relative_error']:.1e}" if "relative_error" in row else str(row["wrong_labels"])
        memory = f"{row['memory_beyond_output_bytes'] / 2**20:.1f} MiB"
        table.add_row(*names, f"{row['milliseconds']:.3f}", memory, wrong)
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtype", choices=DTYPES, default="fp16")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    if gpu_is_missing():
        return 0
    if arguments.dtype == "bf16" and not has_bf16():
        print("skipped: this GPU has no BF16 matrix units")
        return 0
    from danet_export.ops import channel_energy, upsample_argmax  # noqa: F401 - registers torch.ops.danet

    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    rows: list[dict[str, Any]] = []
    for tokens in arguments.tokens:
        rows += measure_maps(tokens, DTYPES[arguments.dtype], arguments.rounds)
        rows += measure_upsampling(tokens, DTYPES[arguments.dtype], arguments.rounds)
        torch.cuda.empty_cache()
    show(rows)
    print(f"written to {record(f'channel_energy_{arguments.dtype}', {'measurements': rows})}")
    wrong = problems(rows, arguments.dtype)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
