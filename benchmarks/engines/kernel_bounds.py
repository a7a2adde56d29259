"""Bounds of the kernels by what the assembler makes of their loops. Needs no GPU.

python -m benchmarks.engines.kernel_bounds [--tokens 9409 32768] [--arch sm_87 ...] [--output FILE]

Everything, in FP16, goes into benchmarks/results/kernel_bounds.json, with the roofline of the whole network;
a part of it only into the file of --output. The machine code is that of the assembler in Triton's wheel; a
driver has its own.

A bound is the least time of the matrix units for what the operator asks for, over the time of the busiest
unit of a multiprocessor, both for one iteration of the loop over keys or positions: no launch of this code
can reach a larger share of the peak (benchmarks/engines/unit_cycles.py). The upsampling has no matrix
products and no bound; where its loop was unrolled altogether, the whole kernel is counted.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.engines.machine_code import (
    MATRIX,
    Assembled,
    assemble,
    count,
    own_assembler,
    release,
    triton_tool,
)
from benchmarks.engines.roofline import PEAKS, modules, seconds
from benchmarks.engines.unit_cycles import MULTIPROCESSORS, Work, cycles, multiply_adds
from benchmarks.gpu.cases import SIZES, problem
from benchmarks.places import results_file
from danet_export.kernels.architectures import ARCHITECTURES, Architecture, find_architectures
from danet_export.kernels.bundle_kernels import VARIANTS, specify
from danet_export.kernels.cache import compile_cached
from danet_export.kernels.compiler import CompiledKernel, triton_version
from danet_export.kernels.specification import KernelSpec
from danet_runtime.errors import DanetError
from danet_runtime.files.atomic import write_json

RESULTS = results_file("kernel_bounds")
TOKENS: Final = (9409, 32768)
NETWORK: Final = (50, (1024, 2048))
"""Layers and frame of the roofline."""

_STEP: Final = 16  # elements that a matrix instruction sums over
_WARPGROUP_TILE: Final = (128, 64)
"""Queries and keys of the kernel whose warps have roles, which names them in its code alone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(TOKENS))
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES), help="sm_75 ... sm_120")
    parser.add_argument("--output", type=Path, help="of a part too; without it, only a whole run is written")
    arguments = parser.parse_args()
    architectures = find_architectures(arguments.arch, "fp16")
    whole = set(arguments.tokens) == set(TOKENS) and set(arguments.arch) == set(ARCHITECTURES)
    output = arguments.output or (RESULTS if whole else None)
    work = [
        (architecture, spec)
        for architecture in architectures
        for tokens in arguments.tokens
        for variant in VARIANTS
        for spec in specify(problem(tokens), architecture, variant)
    ]
    rows = [examine(spec, architecture) for architecture, spec in track(work, "assemble")]
    show(rows)
    if output is None:
        print(f"not written, as this is a part of {RESULTS.name}; give --output to keep it")
        return
    document = {"kind": "kernel-bounds", "triton": triton_version(), "tools": tools(), "dtype": "fp16"}
    write_json(output, {**document, "kernels": rows, "network": network()})
    print(f"written to {output}")


def tools() -> dict[str, str]:
    """Releases of the assemblers and of the disassembler."""
    return {name: release(triton_tool(name)) for name in ("ptxas", "ptxas_blackwell", "nvdisasm")}


def network() -> dict[str, Any]:
    """The roofline of the whole network."""
    layers, size = NETWORK
    parts = modules(layers, size)
    return {
        "layers": layers,
        "size": list(size),
        "devices": {name: asdict(peak) for name, peak in PEAKS.items()},
        "modules": [
            {**asdict(part), "least_ms": {name: 1e3 * seconds(part, peak) for name, peak in PEAKS.items()}}
            for part in parts
        ],
    }


def examine(spec: KernelSpec, architecture: Architecture) -> dict[str, Any]:
    """Compile one kernel in FP16, assemble it, and count its loop."""
    compiled = compile_cached(spec, architecture, "fp16")
    return row_of(spec, architecture, compiled, assemble(compiled.ptx, own_assembler(compiled.ptx)))


def row_of(
    spec: KernelSpec, architecture: Architecture, compiled: CompiledKernel, assembled: Assembled
) -> dict[str, Any]:
    """Figures of one kernel; ``bound`` is ``None`` where it multiplies no matrices."""
    on = MULTIPROCESSORS[architecture.name]
    warps = compiled.block[0] // 32
    work = work_of(spec)
    matrix = assembled.code.innermost(MATRIX)
    body = matrix or assembled.code.innermost(("FFMA", "LDG")) or assembled.code.instructions
    workers = getattr(spec.options, "workers", 0)
    bodies = [(body, workers or warps)]
    if workers:  # the others copy what these multiply
        bodies.append((assembled.code.innermost(("LDGSTS",), without=MATRIX), warps - workers))
    families = sum((count(each) for each, _ in bodies), count(()))
    bound = busy = None
    if work is not None:
        unrolled = max(1, multiply_adds(body, bodies[0][1], work) // work.done)
        work = work.times(unrolled)
    busy = cycles(bodies, on, work or Work(0, 0, 0, 0, 1))
    if work is not None:
        bound = work.needed / on.tensor / max(busy.values())
    return {
        "arch": architecture.name,
        "operator": spec.operator,
        "variant": spec.variant,
        "tokens": spec.shape.get(
            "tokens", spec.shape.get("logits_height", 0) * spec.shape.get("logits_width", 0)
        ),
        "registers": assembled.resources.registers,
        "spill_bytes": assembled.resources.spill_bytes,
        "shared_memory_bytes": compiled.shared_memory_bytes,
        "warps": warps,
        "blocks": on.blocks(assembled.resources.registers, compiled.shared_memory_bytes, compiled.block[0]),
        "instructions": sum(len(each) for each, _ in bodies),
        "matrix_instructions": sum(families[family] for family in MATRIX),
        "barriers": families["BAR"],
        "shuffles": families["SHFL"],
        "exponentials": families["MUFU"],
        "cycles": busy,
        "busiest": max(busy, key=lambda unit: busy[unit]),
        "bound": bound,
    }


def work_of(spec: KernelSpec) -> Work | None:
    """The work of one block of keys or positions; ``None`` where nothing is multiplied."""
    held = spec.constants
    if spec.operator == "PositionAttention":
        queries, keys = (
            held.get(name, size) for name, size in zip(("BLOCK_M", "BLOCK_N"), _WARPGROUP_TILE, strict=True)
        )
        d_qk, d_v, values = held["D_QK"], held["D_V"], held["BLOCK_V"]
        wide = held.get("BLOCK_QK", d_qk)
        energies = -(-d_qk // wide) * wide
        return Work(
            needed=queries * keys * (d_qk * values // d_v + values),
            done=queries * keys * (energies + values),
            queries=queries,
            fetched=keys * (energies + values),
            steps=(energies + keys) // _STEP,
        )
    if spec.operator == "ChannelEnergy":
        channels, positions = held["BLOCK_C"], held["BLOCK_N"]
        products = channels * channels * positions
        return Work(products, products, channels, channels * positions, positions // _STEP)
    return None


def show(rows: list[dict[str, Any]]) -> None:
    """A table of at most 80 columns, none of its words cut."""
    table = Table("arch", "operator", "variant", "N", "bars", "blocks", "busiest", "bound")
    for row in rows:
        names = (
            str(row[key])
            for key in ("arch", "operator", "variant", "tokens", "barriers", "blocks", "busiest")
        )
        table.add_row(*names, "-" if row["bound"] is None else f"{100 * row['bound']:.0f} %")
    Console().print(table)


if __name__ == "__main__":
    try:
        main()
    except DanetError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
