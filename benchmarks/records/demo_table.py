"""The results of `make demo` as one table: every figure is read from the files that its commands wrote.

Ends with 1 where the trained network is not what the demo is to show: too low an mIoU, or an attention that
training left at zero.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from danet_runtime.bundle import Bundle
from danet_train.checkpoint import load_checkpoint

LEAST_MIOU = 0.60
"""On scenes that the network has not seen. An AMD EPYC gave 0.631, an Intel Xeon with AMX 0.633."""

LEAST_GAMMA = 0.01
"""The least of each attention's gamma, which begins at 0."""


def read(path: Path) -> dict[str, Any]:
    """A JSON document."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def add_accuracy(table: Table, folder: Path, bundle: Bundle) -> None:
    """Trained and exported mIoU, each on the validation split."""
    table.add_row("mIoU, trained (PyTorch)", f"{read(folder / 'checkpoint.json')['miou']:.4f}")
    for precision, variant in bundle.manifest.variants.items():
        measured = f"{variant.accuracy.miou:.4f}" if variant.accuracy else "not measured"
        table.add_row(f"mIoU, exported {precision}", measured)
    quantisation = bundle.manifest.variants["int8"].quantisation
    if quantisation:
        table.add_row("convolution MACs on INT8", f"{quantisation.conv_mac_share_int8:.1%}")


def add_engines(table: Table, folder: Path, bundle: Bundle) -> None:
    """The engines that were built from this very bundle; another may lie there from an earlier run."""
    for file in sorted((folder / "engines").glob("*.engine.json")):
        engine = read(file)
        if engine["bundle_sha256"] == bundle.sha256:
            table.add_row(
                f"TensorRT for RTX {engine['library_version']}, {engine['precision']}",
                f"{', '.join(engine['targets'])}; {engine['engine_bytes'] / 2**20:.1f} MiB, "
                f"activations {engine['activation_memory_bytes'] / 2**20:.1f} MiB",
            )


def add_stream(table: Table, folder: Path) -> None:
    """How the video went through ONNX Runtime on this machine."""
    report = read(folder / "overlay.json")
    frames, total = report["frames"], report["latency"]["total"]
    backend = report["backend"]
    table.add_row("stream through", f"{backend['name']} {backend['precision']}, {report['machine']['cpu']}")
    table.add_row("frames in, out, dropped", f"{frames['in']}, {frames['out']}, {frames['dropped']}")
    table.add_row("frames a second", f"{report['fps']:.1f}")
    table.add_row(
        "latency p50, p95, p99", ", ".join(f"{total[key]:.0f} ms" for key in ("p50_ms", "p95_ms", "p99_ms"))
    )


def shortcomings(folder: Path) -> list[str]:
    """The targets that the trained network misses, a sentence each."""
    found = []
    miou = read(folder / "checkpoint.json")["miou"]
    if not miou >= LEAST_MIOU:
        found.append(f"the trained network's mIoU is {miou:.4f}, and should be {LEAST_MIOU} or more")
    head = load_checkpoint(folder / "checkpoint.pt").decode_head
    for attention in ("pam", "cam"):
        gamma = float(getattr(head, attention).gamma.scale.detach())
        if not abs(gamma) >= LEAST_GAMMA:
            found.append(f"{attention}.gamma is {gamma:.4f}: training left that attention unused")
    return found


def main(folder: Path) -> None:
    """Print the table, and what falls short."""
    bundle = Bundle.open(folder / "bundle-int8")
    table = Table("what", "value", title="DANet Edge demo", show_header=False)
    add_accuracy(table, folder, bundle)
    table.add_section()
    add_engines(table, folder, bundle)
    table.add_section()
    add_stream(table, folder)
    table.add_section()
    table.add_row("overlay video", str(folder / "overlay.mp4"))
    table.add_row("report", str(folder / "overlay.json"))
    Console().print(table)
    if found := shortcomings(folder):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
