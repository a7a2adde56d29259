"""The README's figures of training."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables.text import Document, machine, markdown, mib, percent, prose, read

NAMED_SHARE = 0.09
"""A part of the loader's time is named from this share on."""


def trained(document: Document, search: Document) -> str:
    """The results table; the checkpoint of the mixed-precision search is the one that was trained."""
    model, best = document["config"]["model"], document["best"]
    row = [
        "CamVid, val",
        f"DANet-R{model['depth']}, {model['base_channels']} channels, from scratch",
        f"{document['steps']}",
        percent(document["miou"], 2),
        f"{percent(best['miou'], 2)} after {best['step']}",
        f"{document['training_seconds'] / 60:.0f} min, {machine(search)}, other work beside it",
    ]
    return markdown(["data", "network", "steps", "mIoU", "best on the way", "training"], [row])


def loader(document: Document) -> str:
    """Samples a second of one worker process, beside decoding and resizing alone."""
    rows = []
    for name, measured in document["measured"].items():
        rates = measured["samples_per_second"]
        parts = sorted(measured["shares"].items(), key=lambda part: -part[1])
        rows.append(
            [
                f"{name}, {measured['size']}",
                measured["configuration"],
                f"{rates['pipeline']:.1f}",
                f"{rates['decode and resize']:.1f}",
                f"{measured['pipeline_over_decode_and_resize']:.2f}",
                ", ".join(f"{part} {100 * share:.0f} %" for part, share in parts if share >= NAMED_SHARE),
            ]
        )
    intro = (
        "What one worker process loads, in samples a second of its processor time, beside decoding and "
        f"resizing alone, the two in turn ({machine(document)}; `python -m benchmarks.training.loader`). To "
        "keep ahead of the GPU, `workers` must be as many as its samples a second over these:"
    )
    header = ["data", "recipe", "samples/s", "decode, resize", "ratio of times", "where the time goes"]
    return f"{prose(intro)}\n\n{markdown(header, rows)}"


def attention(document: Document) -> str:
    """Memory of the attention in training."""
    ratios = document["plain_over_blockwise"]
    plain, blockwise = (mib(document["median"][form]["memory_bytes"]) for form in ("plain", "blockwise"))
    return prose(
        f"`loop.attention: blockwise` never holds PAM's N x N map. At N = {document['positions']}, a crop of "
        f"1024x1024, forward and backward of the attention take {blockwise} MiB beyond their operands, with "
        f"the plain map {plain} MiB, {ratios['memory_bytes']:.1f} times as much, and the plain map takes "
        f"{ratios['cpu_seconds']:.2f} times the processor time; in FP32 on {machine(document)} "
        "(`python -m benchmarks.training.attention`; on a GPU not measured)."
    )


def block(results: Path) -> str:
    """The text between the markers, from the results that are there."""
    made = []
    for make, *names in (
        (trained, "camvid_training", "camvid_mixed_precision"),
        (loader, "loader"),
        (attention, "training_attention"),
    ):
        found = [document for name in names if (document := read(results, name)) is not None]
        if len(found) == len(names):
            made.append(make(*found))
    return "\n\n".join(made)
