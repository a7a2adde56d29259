"""What reading a video costs, and what it costs that outputs reach the disk."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables.text import beside, machine, prose, read


def video_reading(results: Path) -> str:
    """PyAV beside OpenCV."""
    document = read(results, "video_reading")
    if document is None:
        return ""
    size = "x".join(map(str, document["size_hw"]))
    ratio = document["processor"]["ratio"]
    return prose(
        f"Reading costs {ratio:.2f} of the processor time that it costs in OpenCV, for H.264 of {size} "
        f"({machine(document)}{beside(document)}; `python -m benchmarks.streaming.video_reading`)."
    )


def flushing(results: Path) -> str:
    """Writes with flushing over those without, and what a report and a black box take."""
    document = read(results, "flushing")
    if document is None:
        return ""
    size, sinks, files = "x".join(map(str, document["size_hw"])), document["sinks"], document["files"]
    video, lines, masks = (
        f"{sinks[name]['write_over_unflushed']:.2f}" for name in ("video", "jsonl", "masks")
    )
    report, box = ((files[f"{name}_ms"], files[f"{name}_unflushed_ms"]) for name in ("report", "black_box"))
    return prose(
        f"With flushing over without, a write of a {size} picture at 25 a second took {video} (video), "
        f"{lines} (JSON lines) and {masks} (masks) times as long in the median; a report took "
        f"{report[0]:.0f} ms and not {report[1]:.0f}, a black box of 750 frames {box[0] / 1e3:.1f} s and not "
        f"{box[1] / 1e3:.1f} ({machine(document)}{beside(document)}; "
        "`python -m benchmarks.streaming.flushing`)."
    )
