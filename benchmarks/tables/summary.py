"""The README's short table of what is measured: one figure or two of each kind, each made by a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.tables.text import Document, machine, markdown, mib, percent, read

HEADER = ["what", "figure", "by", "more"]


def _trained(document: Document) -> list[str]:
    model = document["config"]["model"]
    network = f"DANet-R{model['depth']} of {model['base_channels']} channels"
    return [
        f"mIoU on CamVid's val split, {network}, trained from scratch in {document['steps']} steps",
        percent(document["miou"], 2),
        "`danet train`, `danet eval`",
        "[training](docs/training.md)",
    ]


def _int8(document: Document) -> list[str]:
    candidate = document["candidates"][0]
    low, high = candidate["miou_drop_interval"]
    return [
        f"points of mIoU that its INT8 file loses, with {percent(candidate['conv_mac_share_int8'], 0)} % of "
        "the convolution MACs on INT8 (95 % interval)",
        f"{candidate['miou_drop_points']:.2f} ({low:.2f} to {high:.2f})",
        "`python -m benchmarks.calibration.camvid_mixed_precision`",
        "[INT8](docs/int8.md)",
    ]


def _activations(document: Document) -> list[str]:
    forms = document["activation_memory_bytes"]["R-50"]
    return [
        f"activation memory of DANet-R50 at {document['size']} in {document['precision'].upper()}, with the "
        "attention as it is written and as it is built",
        f"{mib(forms['reference'])} and {mib(forms['native'])} MiB",
        "`python -m benchmarks.engines.activation_memory`",
        "[attention](docs/attention.md)",
    ]


def _loop(document: Document) -> list[str]:
    added = document["added_latency"]
    return [
        "what the stream adds to the time of an inference, p50 and p99, frames of 1024x2048",
        f"{added['p50_ms']:.2f} and {added['p99_ms']:.2f} ms",
        "`python -m benchmarks.streaming.loop`",
        "[latency](docs/latency.md)",
    ]


def _cameras(document: Document) -> list[str]:
    losses = document["this"]["loss"]
    frames, corrupt = (sum(loss[key] for loss in losses) for key in ("frames", "corrupt"))
    shares = ", ".join(percent(loss["lost"]) for loss in losses)
    return [
        f"corrupt frames delivered as good, of {frames} through a network that loses {shares} % of its "
        "packets",
        f"{corrupt}",
        "`python -m benchmarks.streaming.cameras`",
        "[the stream](docs/stream.md)",
    ]


ROWS: tuple[tuple[str, Callable[[Document], list[str]]], ...] = (
    ("camvid_training", _trained),
    ("camvid_mixed_precision", _int8),
    ("activation_memory", _activations),
    ("stream", _loop),
    ("cameras", _cameras),
)


def block(results: Path) -> str:
    """A row of each benchmark that was run, and the machines."""
    found = [(document, row) for name, row in ROWS if (document := read(results, name)) is not None]
    machines = sorted({machine(document) for document, _ in found if "machine" in document})
    table = markdown(HEADER, (row(document) for document, row in found)).replace("---:", "---")
    return f"{table}\n\nOn {', '.join(machines)}." if machines else table
