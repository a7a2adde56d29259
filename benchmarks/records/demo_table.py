"""The results of `make demo`, as a table and as JSON, each figure out of the files that its commands wrote.

python -m benchmarks.records.demo_table build/demo [--keep]

Writes FOLDER/demo.json; with --keep also benchmarks/results/demo.json, of which the documents' tables are
made. Ends with 1 where the trained network is not what the demo is to show: too low an mIoU, or an attention
that training left at zero. Such a network is not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from benchmarks.tables.demo import sections
from danet_runtime.bundle import Bundle
from danet_runtime.files.atomic import write_json
from danet_train.checkpoint import load_checkpoint

RESULTS = results_file("demo")

LEAST_MIOU = 0.60
"""On scenes that the network has not seen. An AMD EPYC gave 0.631, an Intel Xeon with AMX 0.633."""

LEAST_GAMMA = 0.01
"""The least of each attention's gamma, which begins at 0."""


FILES = (("overlay video", "overlay.mp4"), ("report", "overlay.json"), ("figures", "demo.json"))


def read(path: Path) -> dict[str, Any]:
    """A JSON document."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def training_of(folder: Path) -> dict[str, Any]:
    """The network that was trained: its size, its score, and what training made of its attentions."""
    record, model = read(folder / "checkpoint.json"), load_checkpoint(folder / "checkpoint.pt")
    return {
        "network": model.config.label,
        "parameters": sum(values.numel() for values in model.parameters()),
        "miou": record["miou"],
        "seconds": record["training_seconds"],
        "precision": record["config"]["precision"],
        "gamma": {name: _gamma(model.decode_head, name) for name in ("pam", "cam")},
    }


def _gamma(head: Any, attention: str) -> float:  # noqa: ANN401 - either attention, or neither
    return float(getattr(head, attention).gamma.scale.detach())


def exports_of(bundle: Bundle) -> dict[str, Any]:
    """Scores of the exported files on the validation split by precision, shares of 1."""
    int8 = bundle.manifest.variants.get("int8")
    quantisation = int8.quantisation if int8 else None
    accuracies = {name: variant.accuracy for name, variant in bundle.manifest.variants.items()}
    return {
        "miou": {name: held.miou if held else None for name, held in accuracies.items()},
        "iou": {name: held.iou for name, held in accuracies.items() if held},
        "frames": max((held.frames for held in accuracies.values() if held), default=0),
        "conv_mac_share_int8": quantisation.conv_mac_share_int8 if quantisation else None,
    }


def engines_of(folder: Path, bundle: Bundle) -> list[dict[str, Any]]:
    """The engines that were built from this very bundle; another may lie there from an earlier run."""
    keys = ("library_version", "precision", "targets", "engine_bytes", "activation_memory_bytes")
    manifests = [read(file) for file in sorted((folder / "engines").glob("*.engine.json"))]
    return [{key: one[key] for key in keys} for one in manifests if one["bundle_sha256"] == bundle.sha256]


def stream_of(report: dict[str, Any]) -> dict[str, Any]:
    """How the video went through ONNX Runtime on this machine."""
    return {
        "backend": report["backend"]["name"],
        "precision": report["backend"]["precision"],
        "frames": {key: report["frames"][key] for key in ("in", "out", "dropped")},
        "fps": report["fps"],
        "latency": {key: report["latency"]["total"][key] for key in ("p50_ms", "p95_ms", "p99_ms")},
    }


def figures(folder: Path) -> dict[str, Any]:
    """Every figure of the demo, and the machine, as plain values for JSON."""
    bundle, report = Bundle.open(folder / "bundle-int8"), read(folder / "overlay.json")
    return {
        "machine": report["machine"],
        "trained": training_of(folder),
        "exported": exports_of(bundle),
        "engines": engines_of(folder, bundle),
        "stream": stream_of(report),
    }


def shortcomings(trained: dict[str, Any]) -> list[str]:
    """The targets that the trained network misses, a sentence each."""
    found = []
    if not trained["miou"] >= LEAST_MIOU:
        found.append(
            f"the trained network's mIoU is {trained['miou']:.4f}, and should be {LEAST_MIOU} or more"
        )
    for attention, gamma in trained["gamma"].items():
        if not abs(gamma) >= LEAST_GAMMA:
            found.append(f"{attention}.gamma is {gamma:.4f}: training left that attention unused")
    return found


def main() -> None:
    """Print the table, write the figures, and say what falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the demo")
    parser.add_argument("--keep", action="store_true", help=f"write the figures to {RESULTS.name} too")
    arguments = parser.parse_args()
    document = figures(arguments.folder)
    write_json(arguments.folder / "demo.json", document)
    table = Table("what", "value", title="DANet Edge demo", show_header=False)
    files = [[name, str(arguments.folder / file)] for name, file in FILES]
    for section in (*sections(document), files):
        for row in section:
            table.add_row(*row)
        table.add_section()
    Console().print(table)
    if found := shortcomings(document["trained"]):
        sys.exit("\n".join(found))
    if arguments.keep:
        write_json(RESULTS, document)


if __name__ == "__main__":
    main()
