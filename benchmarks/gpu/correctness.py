"""All kernels of ours on this GPU against float64, both variants, from Triton and from a bundle; no timing.

python -m benchmarks.gpu.correctness [--tokens 8192 9409 32768] [--dtype fp16 bf16] [--check] [--seed 1]

Inputs are drawn and results compared on the CPU: no kernel but ours runs on the GPU, so compute-sanitizer
sees only these. Exits 1 where a result is wrong, 0 with a message where there is no GPU.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.gpu.cases import DTYPES, SIZES, TOLERANCE, draw_and_solve
from benchmarks.gpu.measurement import DEVICE, exit_code_of, gpu_is_missing, record, relative_error
from benchmarks.gpu.own_kernels import (
    BundleKernels,
    PtxLauncher,
    device_architecture,
    difference_problem,
    differences,
    find_kernels,
    find_spec,
    has_bf16,
    launch_jit,
)
from danet_export.kernels.compiler import triton_version
from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import OPERATORS, Operator

LARGE_ENERGIES = 100.0
"""Deviation of query, key and features that takes the energies beyond FP16's 65504."""
MOST_TOKENS_OF_LARGE_ENERGIES = 9409


def poisoned(expected: Tensor, dtype: torch.dtype) -> Tensor:
    """An output in which every element that is not written is wrong; copied, not filled by a kernel."""
    return torch.full(expected.shape, float("nan"), dtype=dtype).to(DEVICE)


def check_operator(
    operator: Operator, tokens: int, dtype: str, kernels: BundleKernels, arch: str, scale: float | None
) -> list[dict[str, Any]]:
    """Both variants of one operator at one size: errors against the reference, and PTX against JIT."""
    inputs, expected = draw_and_solve(operator, tokens, DTYPES[dtype], scale)
    output_type = torch.float32 if OPERATORS[operator].output_type == "fp32" else DTYPES[dtype]
    on_device = [part.to(DEVICE) for part in inputs]
    rows = []
    for variant in get_args(KernelVariant):
        spec = find_spec(operator, tokens, variant, arch)
        launcher = PtxLauncher(kernels.kernels[operator, variant])
        jit = launch_jit(spec, on_device, poisoned(expected, output_type)).cpu()
        ptx = launcher(on_device, poisoned(expected, output_type)).cpu()
        rows.append(
            {
                "operator": operator,
                "tokens": tokens,
                "dtype": dtype,
                "variant": variant,
                "large_energies": scale is not None,
                "relative_error_jit": relative_error(jit, expected),
                "relative_error_ptx": relative_error(ptx, expected),
                **differences(ptx, jit),
                "same_triton": kernels.triton == triton_version(),
            }
        )
    return rows


def check_size(tokens: int, dtype: str, bundle: Path | None) -> list[dict[str, Any]]:
    """All operators at one size and type, and the attentions again with energies beyond FP16's range."""
    arch = device_architecture()
    kernels = find_kernels(tokens, dtype, arch, bundle)  # type: ignore[arg-type]
    rows = []
    for operator in get_args(Operator):
        rows += check_operator(operator, tokens, dtype, kernels, arch, None)
        if operator != "UpsampleArgmax" and tokens <= MOST_TOKENS_OF_LARGE_ENERGIES:
            rows += check_operator(operator, tokens, dtype, kernels, arch, LARGE_ENERGIES)
    return rows


def limit_of(row: dict[str, Any]) -> float:
    """Largest relative error that is allowed: labels must be equal."""
    return 0.0 if row["operator"] == "UpsampleArgmax" else TOLERANCE[row["dtype"]]


def problems(rows: list[dict[str, Any]]) -> list[str]:
    """The rows that fail, a sentence each."""
    found = []
    for row in rows:
        where = f"{row['operator']} {row['variant']} {row['dtype']} at N={row['tokens']}"
        for way in ("jit", "ptx"):
            error = row[f"relative_error_{way}"]
            if not error <= limit_of(row):
                found.append(f"{where}, {way}: relative error {error:.1e} > {limit_of(row):.1e}")
        difference = difference_problem(row, row["same_triton"])
        if difference:
            found.append(f"{where}: {difference}")
    return found


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("operator", "", "", "N", "energies", "error, JIT", "error, PTX", "limit", "PTX is JIT")
    for row in rows:
        errors = (f"{row[f'relative_error_{way}']:.1e}" for way in ("jit", "ptx"))
        same = "bit for bit" if row["bits_equal_to_jit"] else f"within {row['difference_from_jit']:.1e}"
        table.add_row(
            *(row["operator"], row["dtype"], row["variant"], str(row["tokens"])),
            *("large" if row["large_energies"] else "", *errors, f"{limit_of(row):.1e}", same),
        )
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--bundle", type=Path, help="take the kernels of this bundle, at its own N alone")
    parser.add_argument("--check", action="store_true", help="write no results: for a run under a sanitizer")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbits(31), help="of the inputs; else a fresh one"
    )
    arguments = parser.parse_args()
    if gpu_is_missing():
        return 0
    torch.manual_seed(arguments.seed)
    dtypes = [dtype for dtype in arguments.dtype if dtype == "fp16" or has_bf16()]
    if dtypes != arguments.dtype:
        print(f"skipped: {device_architecture()} has no BF16 matrix units")
    rows = [
        row
        for dtype in dtypes
        for tokens in arguments.tokens
        for row in check_size(tokens, dtype, arguments.bundle)
    ]
    show(rows)
    wrong = problems(rows)
    if not arguments.check:
        content = {"seed": arguments.seed, "passed": not wrong, "problems": wrong, "measurements": rows}
        print(f"written to {record('correctness', content)}")
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    print(f"correctness: {'FAILED' if wrong else 'passed'} (seed {arguments.seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
