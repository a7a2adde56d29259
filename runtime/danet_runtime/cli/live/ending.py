"""The end of ``danet run``: it writes the report to a file and prints a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from danet_runtime.cli.console.json_output import is_stdout, named
from danet_runtime.cli.console.printing import open_console, tell
from danet_runtime.cli.live.interruption import was_interrupted

if TYPE_CHECKING:
    from danet_runtime.stream.report import StreamReport
    from danet_runtime.stream.stream import Stream

_MOST_PARTS: Final = 8
"""Most parts of one output that the summary lists; the report lists all."""


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
            f"the report {named(path)} cannot be written: {error.strerror or error}; give another disk with "
            "--report"
        ]
    return []


@contextmanager
def start_reported(path: Path | None, bundle: Path) -> Iterator[list[Stream]]:
    """Write the report also of a stream that fails before it runs; none of a start that was interrupted.

    Args:
        path: File to write; ``None``: no report is written.
        bundle: Folder of the bundle.

    Yields:
        A list for the stream, once it is made.
    """
    from danet_runtime.errors import DanetError, UsageError
    from danet_runtime.stream.report import StreamReport

    made: list[Stream] = []
    try:
        yield made
    except DanetError as error:
        if path is not None and not isinstance(error, UsageError) and not was_interrupted():
            report = made[0].report() if made else StreamReport.not_started(str(error), bundle)
            for problem in write_report(replace(report, ending="failed", error=str(error)), path):
                tell(f"danet: error: {problem}", err=True)
        raise


def show(report: StreamReport, report_path: Path | None, recordings: Sequence[Path]) -> list[str]:
    """Print the counts, the latencies and what was written.

    On standard output, or on standard error where an output goes to the former.

    Args:
        report: Report of the stream.
        report_path: File that it was written to; ``None``: it was not written.
        recordings: Folders of flight recordings that were written.

    Returns:
        Why that could not be printed; nothing where it was.
    """
    try:
        others = [
            str(path)
            for path in (report_path, *recordings)
            if path is not None and path.exists() and not is_stdout(path)
        ]
        written = [*_files_of(report), *others]
        _print(report, written, has_report=report_path is not None)
    except OSError as error:
        return [f"standard output cannot be written: {error.strerror or error}"]
    return []


def _print(report: StreamReport, written: Sequence[str], *, has_report: bool) -> None:
    from rich.table import Table

    from danet_runtime.cli.console.tables import latency_table
    from danet_runtime.timing import LatencySummary

    console = open_console(stderr=_is_stdout_taken(report, written))
    several = len(report.cameras) > 1
    ran = f"{report.backend.get('name')}:{report.bundle.get('precision')}"
    console.print(f"{report.bundle.get('path')} through {ran}", soft_wrap=True)
    title = f"Frames ({report.ending}, policy {report.policy})"
    counts = Table(*["camera"] * several, "in", "out", "dropped", "unfinished", "fps", title=title)
    for camera in report.cameras if several else ():
        frames = camera["frames"]
        rate = frames["out"] / report.duration_s if report.duration_s else 0.0
        cells = (frames["in"], frames["out"], frames["dropped"], frames["unfinished"], f"{rate:.1f}")
        counts.add_row(camera["name"], *map(str, cells))
    counts.add_row(
        *["all"] * several,
        str(report.frames_in),
        str(report.frames_out),
        str(report.frames_dropped),
        str(report.frames_unfinished),
        f"{report.fps:.1f}",
    )
    console.print(counts)
    for camera in report.cameras:
        if camera["damaged"]:
            counted = ", ".join(f"{count} {reason}" for reason, count in camera["damaged"].items())
            console.print(f"damaged frames of {camera['name']}: {counted}", soft_wrap=True)
        if camera["frames"]["out"]:
            latency = LatencySummary.from_dict(camera["latency"])
            console.print(latency_table(latency, "waiting", camera["name"] if several else None))
    for sent in _sent_of(report):
        console.print(sent, soft_wrap=True, markup=False)
    for place in written:
        console.print(f"written: {place}", soft_wrap=True)
    if not has_report:
        console.print("no report was asked for; --report FILE writes one")


def _is_stdout_taken(report: StreamReport, written: Sequence[str]) -> bool:
    """Return whether an output goes to standard output, so that nothing else may be printed there."""
    from danet_runtime.files.targets import descriptor_of

    paths = [*written, *(sink.get("path", "") for camera in report.cameras for sink in camera["sinks"])]
    return any(descriptor_of(Path(path)) == 1 for path in paths)


def _sent_of(report: StreamReport) -> list[str]:
    """Return a line for each sink that sent frames to the network, and whether they were confirmed."""
    return [
        f"sent: {sink['uri']}, {sink['written']} frames"
        + ("" if sink["confirmed"] else "; nobody confirms that they came")
        for camera in report.cameras
        for sink in camera["sinks"]
        if sink["kind"] == "push" and sink["written"]
    ]


def _files_of(report: StreamReport) -> list[str]:
    """The files and folders that the sinks wrote, in parts or whole; of many parts the first and the last."""
    found = []
    for sink in (sink for camera in report.cameras for sink in camera["sinks"]):
        parts = [part["path"] for part in sink.get("parts", ())]
        if len(parts) > _MOST_PARTS:
            found.append(f"{parts[0]} to {parts[-1]}, {len(parts)} parts")
        elif sink["kind"] != "shm" and "path" in sink:
            found += [path for path in parts or [sink["path"]] if Path(path).exists()]
    return found
