"""The figures that `make demo` ends with, and its model's score by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables.text import Document, machine, markdown, mib, percent, prose, read

LIBRARY = "TensorRT for RTX"
PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")


def sections(document: Document) -> list[list[list[str]]]:
    """Rows of name and value, in groups: accuracy, engines, stream."""
    exported, stream = document["exported"], document["stream"]
    accuracy = [["mIoU, trained (PyTorch)", f"{document['trained']['miou']:.4f}"]]
    accuracy += [
        [f"mIoU, exported {name}", "not measured" if miou is None else f"{miou:.4f}"]
        for name, miou in exported["miou"].items()
    ]
    if exported["conv_mac_share_int8"] is not None:
        accuracy.append(["convolution MACs on INT8", f"{percent(exported['conv_mac_share_int8'])}%"])
    engines = [
        [
            f"{LIBRARY} {engine['library_version']}, {engine['precision']}",
            f"{', '.join(engine['targets'])}; {mib(engine['engine_bytes'])} MiB, "
            f"activations {mib(engine['activation_memory_bytes'])} MiB",
        ]
        for engine in document["engines"]
    ]
    frames, latency = stream["frames"], stream["latency"]
    return [
        accuracy,
        engines,
        [
            ["stream through", f"{stream['backend']} {stream['precision']}, {document['machine']['cpu']}"],
            ["frames in, out, dropped", f"{frames['in']}, {frames['out']}, {frames['dropped']}"],
            ["frames a second", f"{stream['fps']:.1f}"],
            ["latency p50, p95, p99", ", ".join(f"{latency[key]:.0f} ms" for key in PERCENTILES)],
        ],
    ]


def outcome(results: Path) -> str:
    """The table that the demo ends with."""
    document = read(results, "demo")
    if document is None:
        return ""
    table = markdown(["what", "value"], (row for section in sections(document) for row in section))
    text = f"On {machine(document)}; no step of it uses a GPU. The stream's figures are of one run."
    return f"{table}\n\n{prose(text)}"


def classes(results: Path) -> str:
    """The score of each exported file by class, in percent, and how its network was trained."""
    document = read(results, "demo")
    if document is None:
        return ""
    trained, exported = document["trained"], document["exported"]
    scores = exported["iou"]
    names = next(iter(scores.values()))
    absent = [name for name in names if all(held[name] is None for held in scores.values())]
    rows = [
        [name, *(percent(held[name]) for held in scores.values())] for name in names if name not in absent
    ]
    rows.append(["**mIoU**", *(f"**{percent(exported['miou'][name])}**" for name in scores)])
    gamma, through = trained["gamma"], f"{machine(document)} ({trained['precision']})"
    text = (
        f"A DANet-{trained['network']} of {trained['parameters'] / 1e6:.1f} M parameters, trained in "
        f"{trained['seconds']:.0f} s on {through}, scored on {exported['frames']} scenes that it has not "
        "seen; IoU in percent, each column through its own exported file, computed in FP32 by ONNX Runtime."
        f"{_not_there(absent)} The attention is alive: PAM's gamma grows from 0 to {gamma['pam']:.2f}, "
        f"CAM's to {gamma['cam']:.2f}."
    )
    table = markdown(["class", *(name.upper() for name in scores)], rows)
    return f"{prose(text)}\n\n{table}"


def _not_there(names: Sequence[str]) -> str:
    if not names:
        return ""
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f" {listed.capitalize()} {'do' if len(names) > 1 else 'does'} not occur in the scenes."
