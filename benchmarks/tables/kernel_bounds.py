"""The share of the peak that the kernels' machine code allows, and the roofline of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.tables.text import Document, markdown, percent, prose, read

SHOWN = ("Jetson AGX Orin 64GB", "Jetson AGX Thor", "H200 SXM")
"""Devices with a column of the roofline."""

UNITS = {
    "tensor": "matrix",
    "issue": "issue",
    "fp32": "FP32",
    "mufu": "exponentials",
    "shared": "shared memory",
}
"""Words for the units of a multiprocessor."""


def bounds(results: Path) -> str:
    """Position attention by architecture, and in words the channel energies."""
    document = read(results, "kernel_bounds")
    if document is None:
        return ""
    kernels = document["kernels"]
    sizes = sorted({row["tokens"] for row in kernels if row["bound"] is not None}, reverse=True)
    rows = [
        _row(row)
        for tokens in sizes
        for row in kernels
        if (row["operator"], row["tokens"]) == ("PositionAttention", tokens) and row["variant"] == "tuned"
    ]
    tools = document["tools"]
    intro = (
        f"What ptxas {tools['ptxas']} ({tools['ptxas_blackwell']} for sm_100 and later) makes of position "
        f"attention, `tuned`, in {document['dtype'].upper()}: registers a thread, KiB of shared memory and "
        "blocks a multiprocessor; for one block of keys, barriers, shuffles and the cycles of each unit; and "
        "the bound, the share of the matrix units' dense peak that the busiest of them leaves. Counted, not "
        "measured (`python -m benchmarks.engines.kernel_bounds`; `benchmarks/results/kernel_bounds.json` has "
        "every kernel):"
    )
    header = ["", "N", "registers", "KiB", "blocks", "barriers", "shuffles"]
    header += [*UNITS.values(), "bound, %"]
    return "\n\n".join((prose(intro), markdown(header, rows), prose(_others(kernels))))


def _row(row: dict[str, Any]) -> list[str]:
    used = str(row["registers"]) + (f", spills {row['spill_bytes']} B" if row["spill_bytes"] else "")
    units = [
        f"**{cycles:.0f}**" if unit == row["busiest"] else f"{cycles:.0f}"
        for unit, cycles in ((unit, row["cycles"][unit]) for unit in UNITS)
    ]
    counted = (str(row[key]) for key in ("blocks", "barriers", "shuffles"))
    kib = f"{row['shared_memory_bytes'] / 1024:.0f}"
    return [row["arch"], str(row["tokens"]), used, kib, *counted, *units, percent(row["bound"], 0)]


def _others(kernels: list[dict[str, Any]]) -> str:
    """The range of the other kernels' bounds."""

    def range_of(operator: str, variant: str) -> str:
        shares = [
            row["bound"]
            for row in kernels
            if (row["operator"], row["variant"]) == (operator, variant) and row["arch"] != "sm_75"
        ]
        return f"{percent(min(shares), 0)} to {percent(max(shares), 0)} %"

    return (
        f"`channel_energy` is bounded at {range_of('ChannelEnergy', 'tuned')} `tuned` and "
        f"{range_of('ChannelEnergy', 'small')} `small`, position attention `small` at "
        f"{range_of('PositionAttention', 'small')}, from sm_80 on. On sm_75 products run on the FP32 "
        "units. GeForce cards of sm_86, sm_89 and sm_120 sum to FP32 at half the matrix rate taken here, so "
        "that other units bind them less. Latencies and memory only take from a bound."
    )


def roofline(results: Path) -> str:
    """FLOPs, bytes and the least time of each module of the network."""
    document = read(results, "kernel_bounds")
    if document is None:
        return ""
    network = document["network"]
    modules, devices = network["modules"], network["devices"]
    flops = sum(each["flops"] for each in modules)
    rows = [[each["name"], *_figures(each, flops)] for each in modules]
    whole = {
        "flops": flops,
        "bytes": sum(each["bytes"] for each in modules),
        "least_ms": {name: sum(each["least_ms"][name] for each in modules) for name in SHOWN},
    }
    rows.append([f"**{cell}**" for cell in ("all", *_figures(whole, flops))])
    height, width = network["size"]
    peaks = "; ".join(
        f"{name} {devices[name]['tflops']:g} TFLOP/s and {devices[name]['gigabytes_per_second']:g} GB/s"
        for name in SHOWN
    )
    intro = (
        f"The roofline of DANet R-{network['layers']} at {height}x{width} in FP16: each module computes at "
        f"the dense peak, or moves its inputs, weights and outputs once at the memory's ({peaks}; sources "
        "and more devices in the same file). A floor, which nothing reaches:"
    )
    header = ["module", "GFLOP", "share, %", "MB", *(f"{name}, ms" for name in SHOWN)]
    return f"{prose(intro)}\n\n{markdown(header, rows)}"


def _figures(each: Document, flops: int) -> list[str]:
    times = (f"{each['least_ms'][name]:.2f}" for name in SHOWN)
    return [
        f"{each['flops'] / 1e9:.1f}",
        percent(each["flops"] / flops),
        f"{each['bytes'] / 1e6:.0f}",
        *times,
    ]


def assemblers(results: Path) -> str:
    """Sentences on what other releases of ptxas make of the kernels, counted in their record."""
    document = read(results, "assemblers")
    if document is None:
        return "No assembler beside Triton's own has been asked yet."
    kernels = document["kernels"]
    other = sum(
        any(_made_otherwise(row["triton"], figures) for figures in row["others"].values()) for row in kernels
    )
    return prose(
        f"A driver assembles the PTX by itself. ptxas {', '.join(document['releases'].values())}, each asked "
        f"for the PTX that it reads, make other numbers of stores, loads, matrix products and barriers than "
        f"that of Triton {document['triton']}, or new spills, of {other} of the {len(kernels)} kernels at "
        "1024x2048 (`python -m benchmarks.engines.assemblers`)."
    )


def _made_otherwise(triton: Document, other: Document) -> bool:
    """Whether counts differ, or registers are spilled where there were none; registers may be others."""
    counts = set(triton) - {"registers", "spill_bytes"}
    spills = other["spill_bytes"] > 0 and triton["spill_bytes"] == 0
    return spills or any(triton[name] != other[name] for name in counts)
