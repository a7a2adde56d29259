"""Costs of reading a video and of flushing outputs to the disk, and the frames of cameras."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables.text import Document, beside, machine, markdown, prose, read


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


def cameras(results: Path) -> str:
    """Corrupt frames that RTSP cameras over bad networks give as good, and how wrong the ages are."""
    document = read(results, "cameras")
    if document is None:
        return ""
    joined = document["this"]["join"]
    rows = [
        [f"{joined['joins']} joins between two key frames", f"{joined['frames']}", f"{joined['corrupt']}", ""]
    ]
    rows += [
        [
            f"{lost['lost']:.1%} of the packets lost over UDP",
            f"{lost['frames']} of {lost['decodable']} that can be decoded",
            f"{lost['corrupt']}",
            "",
        ]
        for lost in document["this"]["loss"]
    ]
    rows += [
        [_delay(row), "", "", f"{row['least_error_ms']:.2f} to {row['largest_error_ms']:.2f} ms"]
        for row in document["this"]["delay"]
    ]
    intro = (
        "Pictures that tell their number and time, through a camera of ours over a bad network: what was "
        f"delivered as good, and by how much the age that was told is wrong ({machine(document)}; `python -m "
        "benchmarks.streaming.cameras`):"
    )
    header = ("", "frames delivered", "corrupt ones of these", "error of the age")
    return f"{prose(intro)}\n\n{markdown(header, rows)}"


def _delay(row: Document) -> str:
    reports = "with" if row["reports"] else "without"
    return f"a delay that grows to {row['delay_s']:g} s, {reports} the sender's reports"


def flushing(results: Path) -> str:
    """Writes with flushing over those without, and what a report and a flight recording take."""
    document = read(results, "flushing")
    if document is None:
        return ""
    size, sinks, files = "x".join(map(str, document["size_hw"])), document["sinks"], document["files"]
    video, lines, masks = (
        f"{sinks[name]['write_over_unflushed']:.2f}" for name in ("video", "jsonl", "masks")
    )
    report, box = (
        (files[f"{name}_ms"], files[f"{name}_unflushed_ms"]) for name in ("report", "flight_recorder")
    )
    return prose(
        f"With flushing over without, a write of a {size} picture at 25 a second took {video} (video), "
        f"{lines} (JSON lines) and {masks} (masks) times as long in the median; a report took "
        f"{report[0]:.0f} ms and not {report[1]:.0f}, a flight recording of 750 frames "
        f"{box[0] / 1e3:.1f} s and not {box[1] / 1e3:.1f} ({machine(document)}{beside(document)}; "
        "`python -m benchmarks.streaming.flushing`)."
    )
