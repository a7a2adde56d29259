"""What ``danet run`` leaves when a stream has ended: its report as a file, and in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from danet_runtime.report import StreamReport


def write_report(report: StreamReport, path: Path) -> list[str]:
    """Write the report.

    Returns:
        Why it could not be written, for the user; nothing where it was. The failure of the stream itself
        matters more, and must not be hidden by this one.
    """
    try:
        report.write(path)
    except OSError as error:
        return [
            f"the report {path} cannot be written: {error.strerror or error}; give another disk with --report"
        ]
    return []


def show(report: StreamReport, report_path: Path | None, boxes: Sequence[Path]) -> list[str]:
    """Print the counts, the latencies and what was written.

    Args:
        report: Of the stream.
        report_path: Where it was written to, if anywhere.
        boxes: Folders of black boxes that were written.

    Returns:
        Why that could not be printed; nothing where it was.
    """
    try:
        _print(report, [*_files_of(report), *([report_path] if report_path else []), *boxes])
    except OSError as error:
        return [f"standard output cannot be written: {error.strerror or error}"]
    return []


def _print(report: StreamReport, written: Sequence[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    counts = Table(
        "in", "out", "dropped", "unfinished", "fps", title=f"Frames ({report.ending}, policy {report.policy})"
    )
    counts.add_row(
        str(report.frames_in),
        str(report.frames_out),
        str(report.frames_dropped),
        str(report.frames_unfinished),
        f"{report.fps:.1f}",
    )
    console.print(counts)
    if report.frames_out:
        from danet_runtime.commands.tables import latency_table

        console.print(latency_table(report.latency, "waiting"))
    for path in written:
        if path.exists():
            console.print(f"written: {path}", soft_wrap=True, markup=False)


def _files_of(report: StreamReport) -> list[Path]:
    """The files and folders that the sinks wrote, in parts or whole."""
    sinks = [sink for camera in report.cameras for sink in camera["sinks"] if sink["kind"] != "shm"]
    whole = [part for sink in sinks for part in sink.get("parts", [sink])]
    return [Path(sink["path"]) for sink in whole if "path" in sink]
