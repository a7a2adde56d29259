"""Resources of every kernel on every architecture: registers, spills, shared and device memory. Needs no GPU.

python -m benchmarks.engines.kernel_resources [--tokens 8192 9409 32768] [--arch sm_87 ...] [--output FILE]

Everything, in FP16, goes into benchmarks/results/kernel_resources.json; a part of it only into the file of
--output. Threads and PTX versions are in the file alone.

Device memory beyond inputs and outputs is read off the kernels and the plugins: pointers that a kernel takes
beside its operator's tensors (the compiler's global scratch would be one), variables in global or constant
memory that its PTX declares and uses, and the workspace that the plugins ask TensorRT for. Not counted, but
told: the stack that a driver reserves where registers are spilled, and variables that nothing reads, which
would be loaded with the code.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.gpu.cases import SIZES, problem
from benchmarks.places import results_file
from danet_export.kernels.architectures import ARCHITECTURES, find_architectures
from danet_export.kernels.bundle_kernels import VARIANTS, specify
from danet_export.kernels.cache import compile_cached
from danet_export.kernels.compiler import triton_version
from danet_export.kernels.ptx import parameter_names
from danet_runtime.bundle.operators import OPERATORS, Operator
from danet_runtime.dependencies import TENSORRT_RTX, require
from danet_runtime.errors import DanetError
from danet_runtime.files.atomic import write_json
from danet_runtime.tensorrt.plugins.v3 import PluginState, plugin_classes

RESULTS = results_file("kernel_resources")
DEVICE_VARIABLE = re.compile(
    r"^\s*(?:\.(?:visible|weak|common) )?\.(?:global|const) (?:\.align \d+ )?(?:\.v\d )?"
    r"\.[bsuf](\d+) ([\w$]+)(?:\[(\d+)\])?",
    re.MULTILINE,
)
"""Bits of an element, name, and the number of elements where there are several."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES), help="sm_75 ... sm_120")
    parser.add_argument("--dtype", choices=("fp16", "bf16"), default="fp16")
    parser.add_argument("--output", type=Path, help="of a part too; without it, only a whole run is written")
    arguments = parser.parse_args()
    architectures = find_architectures(arguments.arch, arguments.dtype)
    output = arguments.output
    if output is None and is_whole(arguments.tokens, arguments.arch, arguments.dtype):
        output = RESULTS
    work = [
        (tokens, architecture, variant, spec)
        for tokens in arguments.tokens
        for architecture in architectures
        for variant in VARIANTS
        for spec in specify(problem(tokens), architecture, variant)
    ]
    rows: list[dict[str, Any]] = []
    for tokens, architecture, variant, spec in track(work, "compile"):
        compiled = compile_cached(spec, architecture, arguments.dtype)
        figures = asdict(compiled)
        del figures["ptx"], figures["entry"]
        used, unused = device_variables(compiled.ptx)
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
                "scratch_pointers": scratch_pointers(compiled.ptx, spec.operator),
                "device_variables_bytes": used,
                "unused_device_variables_bytes": unused,
            }
        )
    show(rows)
    memory = plugin_device_memory(rows, plugin_workspaces())
    print(f"plugin device memory beyond inputs and outputs: {memory['bytes']} bytes")
    if output is None:
        print(f"not written, as this is a part of {RESULTS.name}; give --output to keep it")
        return
    write_json(
        output,
        {
            "kind": "kernel-resources",
            "triton": triton_version(),
            "dtype": arguments.dtype,
            "plugin_device_memory_beyond_inputs_and_outputs": memory,
            "kernels": rows,
        },
    )
    print(f"written to {output}")


def is_whole(tokens: list[int], architectures: list[str], dtype: str) -> bool:
    """Whether a run makes all that the committed file holds."""
    return (set(tokens), set(architectures), dtype) == (set(SIZES), set(ARCHITECTURES), "fp16")


def scratch_pointers(ptx: str, operator: Operator) -> int:
    """How many addresses a kernel takes beside its operator's inputs and output."""
    return len(parameter_names(ptx)) - OPERATORS[operator].parameters


def device_variables(ptx: str) -> tuple[int, int]:
    """Bytes of the variables that PTX declares in global or constant memory: used ones, and unused ones."""
    used = unused = 0
    for bits, name, count in DEVICE_VARIABLE.findall(ptx):
        size = int(bits) // 8 * int(count or 1)
        if len(re.findall(rf"(?<![\w$]){re.escape(name)}(?![\w$])", ptx)) > 1:
            used += size
        else:
            unused += size
    return used, unused


def plugin_workspaces() -> dict[str, int]:
    """Bytes of workspace that each operator's Python plugin asks for, in its own answer.

    The classes are ours; their bases are of the bindings at hand. Ahead-of-time plugins have no way to ask.
    """
    plugin, _ = plugin_classes(require(TENSORRT_RTX))
    return {
        # The answer depends on no kernel.
        name: int(plugin(PluginState(spec, {}, None, [])).get_workspace_size([], []))  # type: ignore[arg-type]
        for name, spec in OPERATORS.items()
    }


def plugin_device_memory(rows: list[dict[str, Any]], workspaces: dict[str, int]) -> dict[str, Any]:
    """The most that any plugin takes beyond its inputs and outputs, and what it is made of.

    Args:
        rows: Rows of the kernels.
        workspaces: Scratch memory of the plugins, in bytes, by operator.

    Raises:
        SystemExit: A kernel takes scratch memory, which no plugin could give it.
    """
    for row in rows:
        if row["scratch_pointers"]:
            raise SystemExit(
                f"{row['operator']} {row['variant']} for {row['arch']} at N={row['tokens']}: expected the "
                f"operator's tensors as parameters, got {row['scratch_pointers']} pointers more"
            )
    return {
        "bytes": max(row["device_variables_bytes"] + workspaces[row["operator"]] for row in rows),
        "scratch_pointers": max(row["scratch_pointers"] for row in rows),
        "device_variables_bytes": max(row["device_variables_bytes"] for row in rows),
        "workspace_bytes": workspaces,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """A table of at most 80 columns, none of its words cut."""
    table = Table("arch", "operator", "variant", "N", "regs", "spills", "KiB shared")
    for row in rows:
        used, limit = (row[key] / 1024 for key in ("shared_memory_bytes", "shared_memory_limit"))
        names = (str(row[key]) for key in ("arch", "operator", "variant", "tokens", "registers"))
        table.add_row(*names, f"{row['spill_bytes']} B", f"{used:.0f} of {limit:.0f}")
    Console().print(table)


if __name__ == "__main__":
    try:
        main()
    except DanetError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
