"""Position attention on the GPU at hand: right against float64 first, then times side by side in one run.

python -m benchmarks.gpu.attention [--tokens 8192 9409 32768] [--dtype fp16] [--rounds 20] [--bundle FOLDER]

Compares eager PyTorch, scaled_dot_product_attention (every backend that accepts the shapes, as it is and with
V split into heads), torch.compile, the Triton kernel as PyTorch launches it, and the bundle's own PTX through
the driver API. Exits 1 where a result is wrong or a target is missed, 0 with a message where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.gpu.cases import (
    D_QK,
    D_V,
    DTYPES,
    SIZES,
    TOLERANCE,
    attention_reference,
    draw_attention,
    padded,
)
from benchmarks.gpu.measurement import (
    DEVICE,
    Candidate,
    exit_code_of,
    gpu_is_missing,
    matmul_tflops,
    peak_beyond_output,
    record,
    relative_error,
    time_side_by_side,
)
from benchmarks.gpu.own_kernels import (
    BundleKernels,
    PtxLauncher,
    device_architecture,
    difference_problem,
    differences,
    find_kernels,
    find_spec,
    find_spec_in_step,
    has_bf16,
    launch_jit,
)
from benchmarks.gpu.stock_attention import stock_candidates
from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.kernels.specification import KernelSpec

IN_STEP = "triton, in step"
"""The kernel whose warps go in step, where the tuned one gives them roles (sm_90)."""
IN_PARTS = "triton, in parts"
"""The kernel with the channels in four parts, where warps multiply by ``mma.sync``."""
OWN = ("triton", IN_STEP, IN_PARTS, "ptx tuned", "ptx small")
"""Candidates whose result must be right; the others are only compared with."""
SHIPPED = "ptx tuned"
"""The one that an engine runs."""

TARGET_TOKENS, TARGET_GPU = 32768, "H200"
LEAST_SHARE, AIMED_SHARE = 0.60, 0.75
"""Shares of the matmul's rate, at ``TARGET_TOKENS``; missing the first fails on the GPU of the target."""


def own_candidates(inputs: tuple[Tensor, ...], kernels: BundleKernels) -> dict[str, Candidate]:
    """Ours: through Triton's launcher, in the form that no bundle holds too, and the bundle's PTX."""
    from benchmarks.gpu.kernels.attention_parts import parts_of

    rows = padded(inputs)
    residual = inputs[3]

    def through_triton(spec: KernelSpec) -> Candidate:
        return lambda: launch_jit(spec, rows, torch.empty_like(residual))

    def through_driver(launcher: PtxLauncher) -> Candidate:
        return lambda: launcher(rows, torch.empty_like(residual))

    tokens, arch = residual[0, 0].numel(), device_architecture()
    spec = find_spec("PositionAttention", tokens, "tuned", arch)
    candidates = {"triton": through_triton(spec)}
    in_step = find_spec_in_step(tokens, arch)
    if in_step is not None:
        candidates[IN_STEP] = through_triton(in_step)
    in_parts = parts_of(spec, ARCHITECTURES[arch])
    if in_parts is not None:
        candidates[IN_PARTS] = through_triton(in_parts)
    for (operator, variant), loaded in kernels.kernels.items():
        if operator == "PositionAttention":
            candidates[f"ptx {variant}"] = through_driver(PtxLauncher(loaded))
    return candidates


def measure(tokens: int, dtype: str, rounds: int, matmul: float, bundle: Path | None) -> list[dict[str, Any]]:
    """Every candidate at one size: error, time, rate and memory, or why it did not run."""
    from danet_export.kernels.compiler import triton_version

    inputs = tuple(part.to(DEVICE) for part in draw_attention(tokens, DTYPES[dtype]))
    expected = attention_reference(*inputs)
    kernels = find_kernels(tokens, dtype, device_architecture(), bundle)  # type: ignore[arg-type]
    candidates = {**stock_candidates(inputs), **own_candidates(inputs, kernels)}
    rows: dict[str, dict[str, Any]] = {}
    outputs: dict[str, Tensor] = {}
    for name, candidate in list(candidates.items()):
        rows[name] = {"tokens": tokens, "candidate": name}
        try:
            result = candidate()
            rows[name]["relative_error"] = relative_error(result, expected)
            if name in OWN:
                outputs[name] = result
            del result
            rows[name]["memory_beyond_output_bytes"] = peak_beyond_output(candidate)
        except Exception as error:
            if name in OWN:
                raise
            rows[name]["refused"] = (str(error).splitlines() or [type(error).__name__])[0][:160]
            del candidates[name]
            torch.cuda.empty_cache()
    rows[SHIPPED] |= differences(outputs[SHIPPED], outputs["triton"])
    rows[SHIPPED]["same_triton"] = kernels.triton == triton_version()
    del expected, outputs
    free_before = torch.cuda.mem_get_info()[0]
    for name, timing in time_side_by_side(candidates, rounds).items():
        rate = 2 * tokens**2 * (D_QK + D_V) / timing.median_ms / 1e9
        rows[name] |= {**timing.row(), "tflops": rate, "share_of_matmul": rate / matmul}
    taken = free_before - torch.cuda.mem_get_info()[0]
    rows["triton"]["device_memory_taken_while_timing_bytes"] = max(0, taken)
    return list(rows.values())


def targets(rows: list[dict[str, Any]], dtype: str, gpu: str) -> dict[str, dict[str, Any]]:
    """The targets of our candidates and what was reached; ``required`` where missing it is a failure."""
    own = [row for row in rows if row["candidate"] in OWN]
    errors = [row["relative_error"] for row in own]
    right = all(error <= TOLERANCE[dtype] for error in errors)  # never where one is not a number
    asked = {
        "relative_error": {
            "limit": TOLERANCE[dtype],
            "reached": next((error for error in errors if error != error), max(errors)),
            "passed": right,
            "required": True,
        }
    }
    shares = [
        row["share_of_matmul"] for row in own if (row["candidate"], row["tokens"]) == (SHIPPED, TARGET_TOKENS)
    ]
    if shares:
        asked["share_of_matmul"] = {
            "limit": LEAST_SHARE,
            "aim": AIMED_SHARE,
            "reached": shares[0],
            "passed": shares[0] >= LEAST_SHARE,
            "required": TARGET_GPU in gpu,
        }
    return asked


def problems(rows: list[dict[str, Any]], dtype: str, gpu: str) -> list[str]:
    """The failures of our own candidates."""
    found = []
    for row in rows:
        where = f"{row['candidate']} at N={row['tokens']}"
        if row["candidate"] not in OWN:
            continue
        if not row["relative_error"] <= TOLERANCE[dtype]:
            found.append(f"{where}: relative error {row['relative_error']:.1e} > {TOLERANCE[dtype]:.1e}")
        if row["memory_beyond_output_bytes"]:
            found.append(f"{where}: {row['memory_beyond_output_bytes']} bytes beyond inputs and output")
        if "bits_equal_to_jit" in row and (difference := difference_problem(row, row["same_triton"])):
            found.append(f"{where}: {difference}")
    share = targets(rows, dtype, gpu).get("share_of_matmul")
    if share and share["required"] and not share["passed"]:
        found.append(
            f"{SHIPPED} at N={TARGET_TOKENS}: {share['reached']:.0%} of the matmul's rate < {LEAST_SHARE:.0%}"
        )
    return found


def show(rows: list[dict[str, Any]], matmul: float, asked: dict[str, dict[str, Any]]) -> None:
    table = Table(
        "N", "", "ms", "TFLOP/s", "of matmul", "memory", "error", title=f"8192^3 BF16: {matmul:.0f} TFLOP/s"
    )
    for row in rows:
        names = (str(row["tokens"]), str(row["candidate"]))
        if "refused" in row:
            table.add_row(*names, "refused", "", "", "", row["refused"][:40])
            continue
        figures = (f"{row['milliseconds']:.3f}", f"{row['tflops']:.0f}", f"{row['share_of_matmul']:.0%}")
        memory = f"{row['memory_beyond_output_bytes'] / 2**20:.1f} MiB"
        table.add_row(*names, *figures, memory, f"{row['relative_error']:.1e}")
    Console().print(table)
    for name, target in asked.items():
        verdict = "passed" if target["passed"] else "FAILED" if target["required"] else "missed (told only)"
        aim = f", aim {target['aim']:g}" if "aim" in target else ""
        print(f"target {name}: {target['reached']:.3g}, limit {target['limit']:g}{aim}: {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtype", choices=DTYPES, default="fp16")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--bundle", type=Path, help="take the kernels of this bundle, at its own N alone")
    arguments = parser.parse_args()
    if gpu_is_missing():
        return 0
    if arguments.dtype == "bf16" and not has_bf16():
        print("skipped: this GPU has no BF16 matrix units")
        return 0
    torch.manual_seed(0)
    matmul = matmul_tflops(arguments.rounds)
    rows: list[dict[str, Any]] = []
    for tokens in arguments.tokens:
        rows += measure(tokens, arguments.dtype, arguments.rounds, matmul, arguments.bundle)
        torch.cuda.empty_cache()
    gpu = torch.cuda.get_device_properties(0).name
    asked = targets(rows, arguments.dtype, gpu)
    show(rows, matmul, asked)
    content = {"matmul_bf16_8192_tflops": matmul, "targets": asked, "measurements": rows}
    print(f"written to {record(f'position_attention_{arguments.dtype}', content)}")
    wrong = problems(rows, arguments.dtype, gpu)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
