"""Position attention on the GPU at hand: right against float64 first, then times side by side in one run.

python benchmarks/gpu/attention.py [--tokens 8192 9409 32768] [--dtype fp16] [--rounds 20] [--bundle FOLDER]

Compares eager PyTorch, scaled_dot_product_attention (every backend that accepts the shapes, as it is and with
V split into heads), torch.compile, the Triton kernel as PyTorch launches it, and the bundle's own PTX through
the driver API. Exits 1 where a result is wrong, 0 with a message where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measurement import (
    Candidate,
    matmul_tflops,
    peak_beyond_output,
    record,
    relative_error,
    time_side_by_side,
)
from rich.console import Console
from rich.table import Table
from torch import Tensor

from danet_export.attention_ops import energy_slices
from danet_export.geometry import plan_geometry
from danet_runtime.bundle import Bundle, BundleWriter, Kernel

D_QK, D_V, V_HEADS = 64, 512, 8
SIZES = {8192: (512, 1024), 9409: (769, 769), 32768: (1024, 2048)}
TOLERANCE = {"fp16": 2e-3, "bf16": 1.5e-2}
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
REFERENCE_ROWS = 512
OWN = ("triton", "ptx tuned", "ptx small")
"""Candidates whose result must be right; the others are only compared with."""


def draw(tokens: int, dtype: torch.dtype, device: str, d_v: int = D_V) -> tuple[Tensor, ...]:
    """Query, key (1, d_qk, 1, N), value and residual (1, d_v, 1, N), fresh random ones."""
    query, key = (torch.randn(1, D_QK, 1, tokens, device=device).mul(0.5).to(dtype) for _ in range(2))
    value, residual = (torch.randn(1, d_v, 1, tokens, device=device).to(dtype) for _ in range(2))
    return query, key, value, residual


def reference(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    """In float64, some rows at a time."""
    q, k, v = (part.flatten(2).double()[0] for part in (query, key, value))
    rows = [torch.softmax(part.T @ k, -1) @ v.T for part in q.split(REFERENCE_ROWS, dim=1)]
    return torch.cat(rows).T.reshape(residual.shape) + residual.double()


def eager(query: Tensor, key: Tensor, value: Tensor, residual: Tensor) -> Tensor:
    """The module as it is trained, in the type of its inputs."""
    q, k, v = query.flatten(2).transpose(1, 2), key.flatten(2), value.flatten(2)
    return (v @ torch.softmax(q @ k, dim=-1).transpose(1, 2)).reshape(residual.shape) + residual


def fused(query: Tensor, key: Tensor, value: Tensor, residual: Tensor, heads: int) -> Tensor:
    """scaled_dot_product_attention, with V as ``heads`` heads that share Q and K."""
    q, k = (part.flatten(2).transpose(1, 2)[:, None].expand(-1, heads, -1, -1) for part in (query, key))
    v = value.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)  # (B, heads, N, d_v / heads)
    context = F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(2, 3)
    return context.reshape(residual.shape) + residual


def stock_candidates(inputs: tuple[Tensor, ...]) -> dict[str, Candidate]:
    """PyTorch's own ways."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def on(backend: SDPBackend, heads: int) -> Candidate:
        def run() -> Tensor:
            with sdpa_kernel(backend):
                return fused(*inputs, heads=heads)

        return run

    compiled: Callable[..., Tensor] = torch.compile(eager, dynamic=False)
    candidates: dict[str, Candidate] = {
        "eager": lambda: eager(*inputs),
        "torch.compile": lambda: compiled(*inputs),
    }
    for name, heads in (("sdpa", 1), ("sdpa split V", V_HEADS)):
        for backend in ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
            if hasattr(SDPBackend, backend):
                candidates[f"{name} {backend.split('_')[0].lower()}"] = on(
                    getattr(SDPBackend, backend), heads
                )
    return candidates


def own_candidates(inputs: tuple[Tensor, ...], kernels: list[tuple[Kernel, bytes]]) -> dict[str, Candidate]:
    """Ours: through Triton's launcher, and the bundle's PTX."""
    from driver_kernel import DriverKernel

    from danet_export.kernels import torch_ops

    def launched(loaded: DriverKernel) -> Candidate:
        def run() -> Tensor:
            output = torch.empty_like(inputs[2])
            loaded(*inputs, output)
            return output

        return run

    candidates: dict[str, Candidate] = {"triton": lambda: torch_ops.position_attention(*inputs)}
    for kernel, ptx in kernels:
        candidates[f"ptx {kernel.variant}"] = launched(DriverKernel(kernel, ptx))
    return candidates


def find_kernels(tokens: int, dtype: str, arch: str, bundle: Path | None) -> list[tuple[Kernel, bytes]]:
    """The bundle's kernels for this GPU; made here, as ``danet export`` makes them, where none is given."""
    if bundle is not None:
        opened = Bundle.open(bundle)
        pairs = [(kernel, opened.read(kernel.ptx)) for kernel in opened.manifest.kernels]
    else:
        from danet_export.kernels.architectures import KernelRequest, find_architectures
        from danet_export.kernels.bundle_kernels import Problem, write_kernels

        geometry = plan_geometry(SIZES[tokens])
        sizes = (geometry.logits_hw, geometry.frame_hw, geometry.align_corners)
        problem = Problem(tokens, D_QK, D_V, energy_slices(tokens), 19, *sizes)
        request = KernelRequest(find_architectures([arch], dtype), dtype)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder:
            writer = BundleWriter(Path(folder))
            made = list(write_kernels(request, problem, writer, lambda _: None))
            pairs = [(kernel, (Path(folder) / kernel.ptx.path).read_bytes()) for kernel in made]
    return [
        (kernel, ptx)
        for kernel, ptx in pairs
        if (kernel.operator, kernel.arch, kernel.dtype) == ("PositionAttention", arch, dtype)
        and kernel.shape["tokens"] == tokens
    ]


def measure(tokens: int, dtype: str, rounds: int, matmul: float, bundle: Path | None) -> list[dict[str, Any]]:
    """Every candidate at one size: error, time, rate and memory, or why it did not run."""
    inputs = draw(tokens, DTYPES[dtype], "cuda")
    expected = reference(*inputs)
    arch = "sm_{}{}".format(*torch.cuda.get_device_capability())
    candidates = {
        **stock_candidates(inputs),
        **own_candidates(inputs, find_kernels(tokens, dtype, arch, bundle)),
    }
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
            rows[name]["refused"] = str(error).splitlines()[0][:160]
            del candidates[name]
            torch.cuda.empty_cache()
    if {"triton", "ptx tuned"} <= outputs.keys():
        rows["ptx tuned"]["bits_equal_to_triton"] = torch.equal(outputs["triton"], outputs["ptx tuned"])
        rows["ptx tuned"]["difference_from_triton"] = relative_error(outputs["ptx tuned"], outputs["triton"])
    del expected, outputs
    free_before = torch.cuda.mem_get_info()[0]
    for name, milliseconds in time_side_by_side(candidates, rounds).items():
        rate = 2 * tokens**2 * (D_QK + D_V) / milliseconds / 1e9
        rows[name] |= {"milliseconds": milliseconds, "tflops": rate, "share_of_matmul": rate / matmul}
    rows["triton"]["device_memory_taken_while_timing_bytes"] = max(
        0, free_before - torch.cuda.mem_get_info()[0]
    )
    return list(rows.values())


def problems(rows: list[dict[str, Any]], dtype: str) -> list[str]:
    """What is wrong with our own candidates."""
    found = []
    for row in rows:
        where = f"{row['candidate']} at N={row['tokens']}"
        if row["candidate"] not in OWN:
            continue
        if not row["relative_error"] <= TOLERANCE[dtype]:
            found.append(f"{where}: relative error {row['relative_error']:.1e} > {TOLERANCE[dtype]:.1e}")
        if row["memory_beyond_output_bytes"]:
            found.append(f"{where}: {row['memory_beyond_output_bytes']} bytes beyond inputs and output")
        if row.get("difference_from_triton", 0.0) > 1e-3:
            found.append(
                f"{where}: {row['difference_from_triton']:.1e} from the kernel as Triton launches it"
            )
    return found


def show(rows: list[dict[str, Any]], matmul: float) -> None:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtype", choices=DTYPES, default="fp16")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--bundle", type=Path, help="take the kernels of this bundle, at its own N alone")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: no CUDA GPU here (torch.cuda.is_available() is false); nothing was measured")
        return 0
    torch.manual_seed(0)
    matmul = matmul_tflops(arguments.rounds)
    rows: list[dict[str, Any]] = []
    for tokens in arguments.tokens:
        rows += measure(tokens, arguments.dtype, arguments.rounds, matmul, arguments.bundle)
        torch.cuda.empty_cache()
    show(rows, matmul)
    path = record(
        f"position_attention_{arguments.dtype}", {"matmul_bf16_8192_tflops": matmul, "measurements": rows}
    )
    wrong = problems(rows, arguments.dtype)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    print(f"written to {path}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
