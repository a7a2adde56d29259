"""The README's figures of the loop."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables.text import Document, machine, read


def block(results: Path) -> str:
    """The README's table of the loop; nothing where it was not measured."""
    document = read(results, "stream")
    return "" if document is None else table(document)


def table(results: Document) -> str:
    """The table of the loop and of the cameras."""
    loop, added, over = results["throughput"], results["added_latency"], results["overload"]
    soaked = results["soak"]
    rows = (
        ("time of the loop over its slowest stage alone", f"{loop['over_slowest_stage']:.3f}"),
        (
            "likewise with an upload and a download beside the inference, two frames under way",
            f"{loop['overlapped_over_slowest_stage']:.3f}",
        ),
        ("one stage after the other, likewise", f"{loop['sequential_over_slowest_stage']:.2f}"),
        (
            "added latency, frame in to result out less inference, p50, p99, max",
            f"{added['p50_ms']:.2f}, {added['p99_ms']:.2f}, {added['max_ms']:.2f} ms",
        ),
        (
            "`latest`, source three times as fast as inference: oldest result",
            f"{over['latest_oldest_in_inference_times']:.2f} inference times",
        ),
        (
            "likewise with two frames under way",
            f"{over['overlapped_oldest_in_inference_times']:.2f} inference times",
        ),
        ("`every`, likewise: frames lost", f"{over['every_lost']}"),
        (
            "four cameras of different rates: largest difference from an equal share",
            f"{results['fairness']['largest_difference_from_equal']:.1%}",
        ),
        (
            f"resident memory grown over {soaked['frames']} frames after a warm-up",
            f"{soaked['grown_mib']:.2f} MiB",
        ),
    )
    lines = ["| | |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)]
    return "\n".join([*lines, "", f"On {machine(results)}, other work beside it."])
