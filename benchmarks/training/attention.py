"""Memory and time of position attention in training, the whole map beside blocks of its rows. Needs no GPU.

Forward and backward of the attention alone, at the real widths, on a crop of 1024x1024: 16384 positions. Each
run is a process of its own, the forms in turn; `operands` makes the operands alone and stands for what torch
itself takes. Times are the process's own on all its threads, so that other work beside it counts little.

python -m benchmarks.training.attention [--positions 16384] [--rows 512] [--rounds 3] [--output FILE]

The defaults go into benchmarks/results/training_attention.json; anything else only into the file of --output.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from benchmarks.process import run_alone
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine

RESULTS = results_file("training_attention")
POSITIONS, ROWS, ROUNDS = 16384, 512, 3
"""The case of the committed results."""
CHANNELS, INNER = 512, 64
FORMS = ("operands", "plain", "blockwise")


def run_form(form: str, positions: int, rows: int, output: Path) -> None:
    """Run one form once in this process, and write what its passes took."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `danet train` does, before torch is loaded
    import torch

    from danet_train.model.blockwise_attention import blockwise_context, energies

    torch.manual_seed(0)
    shapes = (1, positions, INNER), (1, INNER, positions), (1, CHANNELS, positions)
    query, key, value = (torch.randn(shape).div_(INNER**0.25).requires_grad_() for shape in shapes)
    above = torch.randn(shapes[2])
    forms: dict[str, Callable[[], torch.Tensor]] = {
        "operands": lambda: value + 0,
        "plain": lambda: value @ torch.softmax(energies(query, key), dim=-1).transpose(1, 2),
        "blockwise": lambda: blockwise_context(query, key, value, rows),
    }
    begun = time.process_time()
    context = forms[form]()
    between = time.process_time()
    context.backward(above)  # type: ignore[no-untyped-call]
    ended = time.process_time()
    output.write_text(json.dumps({"forward_cpu_s": between - begun, "backward_cpu_s": ended - between}))


def measure(positions: int, rows: int, rounds: int, console: Console) -> dict[str, dict[str, Any]]:
    """Every form's peaks and times, the forms in turn so that a drift of the machine meets all alike."""
    measured: dict[str, dict[str, list[float]]] = {
        form: {"peak_bytes": [], "forward_cpu_s": [], "backward_cpu_s": []} for form in FORMS
    }
    with tempfile.TemporaryDirectory() as name:
        figures = Path(name) / "figures.json"
        for turn in range(rounds):
            for form in FORMS:
                with console.status(f"round {turn + 1} of {rounds}, {form}"):
                    options = ("--positions", str(positions), "--rows", str(rows), "--figures", str(figures))
                    command = (sys.executable, "-m", "benchmarks.training.attention", *options)
                    usage = run_alone((*command, "--form", form))
                measured[form]["peak_bytes"].append(usage.peak_bytes)
                for key, seconds in json.loads(figures.read_text()).items():
                    measured[form][key].append(round(seconds, 3))
    return measured


def summary(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Medians of each form: memory beyond the operands' own process, and CPU seconds of both passes."""
    base = statistics.median(measured["operands"]["peak_bytes"])
    return {
        form: {
            "memory_bytes": statistics.median(measured[form]["peak_bytes"]) - base,
            "cpu_seconds": statistics.median(measured[form]["forward_cpu_s"])
            + statistics.median(measured[form]["backward_cpu_s"]),
        }
        for form in ("plain", "blockwise")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, default=POSITIONS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, help="where to keep other sizes")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.form:
        run_form(arguments.form, arguments.positions, arguments.rows, arguments.figures)
        return
    output = arguments.output
    asked = (arguments.positions, arguments.rows, arguments.rounds)
    if output is None and asked == (POSITIONS, ROWS, ROUNDS):
        output = RESULTS
    console = Console()
    measured = measure(arguments.positions, arguments.rows, arguments.rounds, console)
    figures = summary(measured)
    table = Table(f"N = {arguments.positions}, FP32", "MiB beyond the operands", "CPU seconds, both passes")
    for form, row in figures.items():
        table.add_row(form, f"{row['memory_bytes'] / 2**20:.0f}", f"{row['cpu_seconds']:.2f}")
    ratios = {key: figures["plain"][key] / figures["blockwise"][key] for key in figures["plain"]}
    table.add_row("plain : blockwise", f"{ratios['memory_bytes']:.1f}", f"{ratios['cpu_seconds']:.2f}")
    console.print(table)
    if output is None:
        console.print(f"not written: {RESULTS.name} holds the defaults; give --output to keep this")
        return
    write_json(
        output,
        {
            "machine": describe_machine(),
            "positions": arguments.positions,
            "channels": CHANNELS,
            "attention_channels": INNER,
            "rows": arguments.rows,
            "precision": "fp32",
            "measured": measured,
            "median": figures,
            "plain_over_blockwise": ratios,
        },
    )
    console.print(f"written to {output}")


if __name__ == "__main__":
    main()
