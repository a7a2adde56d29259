"""Tables of the cost of copying results and of drawing overlays."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables.text import beside, machine, markdown, prose, read


def copies(results: Path) -> str:
    """The rate of a stream that gives copies over that of one that gives views."""
    document = read(results, "copies")
    if document is None:
        return ""
    size = "x".join(map(str, document["size_hw"]))
    rate, copied = document["fps_over_views"], document["cpu_ms_of_a_copy"]
    views, whole = document["fps_of_views"], document["cpu_ms_of_views"]
    return prose(
        f"With copies a stream of {size} runs at {rate:.3f} of the rate that it has with views ({views:.1f} "
        "a second, the model replaced by a fixed amount of work on every core; the median of "
        f"{document['rounds']} rounds in turn). A copy takes {copied:.1f} ms of processor time beside the "
        f"{whole:.0f} ms of a frame ({machine(document)}{beside(document)}; "
        "`python -m benchmarks.streaming.copies`)."
    )


def block(results: Path) -> str:
    """The processor time of an overlay by style."""
    document = read(results, "overlays")
    if document is None:
        return ""
    size = "x".join(map(str, document["size_hw"]))
    alone, *more = document["cpu_ms"].items()
    rows = [[alone[0], f"{alone[1]:.1f}"], *([f"with {name}", f"{value:.1f}"] for name, value in more)]
    text = prose(
        f"Processor time of one overlay of {size} with {document['classes']} classes, of a model of "
        f"{document['model_hw'][0]}x{document['model_hw'][1]} ({machine(document)}{beside(document)}; "
        "`python -m benchmarks.streaming.overlays`):"
    )
    return f"{text}\n\n{markdown(['overlay', 'ms'], rows)}"
