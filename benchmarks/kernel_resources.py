"""What every kernel takes of every architecture: registers, spills, shared memory. Needs no GPU.

python benchmarks/kernel_resources.py [--tokens 8192 9409 32768] [--arch sm_87 ...] [--dtype fp16]
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from danet_export.attention_ops import energy_slices
from danet_export.geometry import Geometry, plan_geometry
from danet_export.kernels.architectures import ARCHITECTURES, find_architectures
from danet_export.kernels.bundle_kernels import VARIANTS, Problem
from danet_export.kernels.cache import compile_cached
from danet_export.kernels.compiler import triton_version
from danet_runtime.files import write_json

RESULTS = Path(__file__).parent / "results" / "kernel_resources.json"
SIZES = {8192: (512, 1024), 9409: (769, 769), 32768: (1024, 2048)}


def problem(geometry: Geometry) -> Problem:
    """DANet's own widths on Cityscapes."""
    return Problem(
        tokens=geometry.tokens,
        d_qk=64,
        d_v=512,
        slices=energy_slices(geometry.tokens),
        classes=19,
        logits_hw=geometry.logits_hw,
        size_hw=geometry.frame_hw,
        align_corners=geometry.align_corners,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES), help="sm_75 ... sm_120")
    parser.add_argument("--dtype", choices=("fp16", "bf16"), default="fp16")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    architectures = find_architectures(arguments.arch, arguments.dtype)
    work = [
        (tokens, architecture, variant, spec)
        for tokens in arguments.tokens
        for architecture in architectures
        for variant in VARIANTS
        for spec in problem(plan_geometry(SIZES[tokens])).specify(architecture, variant)
    ]
    rows = []
    for tokens, architecture, variant, spec in track(work, "compile"):
        figures = asdict(compile_cached(spec, architecture, arguments.dtype))
        del figures["ptx"], figures["entry"]
        rows.append(
            {
                "arch": architecture.name,
                "operator": spec.operator,
                "variant": variant,
                "tokens": tokens,
                **figures,
                "shared_memory_limit": architecture.shared_memory_limit,
                "grid": spec.grid,
                "constants": dict(spec.constants),
                "stages": spec.options.stages,
            }
        )
    show(rows)
    write_json(
        arguments.output,
        {"kind": "kernel-resources", "triton": triton_version(), "dtype": arguments.dtype, "kernels": rows},
    )


def show(rows: list[dict[str, object]]) -> None:
    table = Table("arch", "operator", "variant", "N", "registers", "spills", "shared", "of", "threads", "PTX")
    for row in rows:
        kib = [
            f"{int(str(row[key])) / 1024:.0f} KiB" for key in ("shared_memory_bytes", "shared_memory_limit")
        ]
        names = (str(row[key]) for key in ("arch", "operator", "variant", "tokens", "registers"))
        threads = str(row["block"][0]) if isinstance(row["block"], tuple) else ""
        table.add_row(*names, f"{row['spill_bytes']} B", *kib, threads, str(row["ptx_version"]))
    Console().print(table)


if __name__ == "__main__":
    main()
