"""``danet run``: a bundle over a video, pictures or a camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from danet_runtime.report import StreamReport
    from danet_runtime.sinks.base import Sink


def run(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `danet export` or `danet calibrate`.")],
    source: Annotated[
        str,
        typer.Argument(
            help="Video file, picture, folder of pictures, pattern such as 'a/*.png', or camera index."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Overlay video: .mp4, .m4v, .mov, .mkv, .avi; of pictures, 10 a second."
        ),
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder for one PNG with labels a frame.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="JSON report; by default beside the video, or in the folder of masks.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Variant; by default the most precise in the bundle."),
    ] = None,
    policy: Annotated[
        Literal["every", "latest"] | None,
        typer.Option(
            help="every: nothing is lost; latest: old frames are dropped. Default: latest for a camera."
        ),
    ] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one inference.")] = None,
    legend: Annotated[bool, typer.Option("--legend", help="Draw the names of the classes.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
) -> None:
    """Segment a video, pictures or a camera; write the overlay, masks and a report."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from danet_runtime.errors import DanetError, UsageError
    from danet_runtime.files import check_file_target
    from danet_runtime.segmenter import Segmenter
    from danet_runtime.sinks.masks import MasksSink
    from danet_runtime.sinks.video import VideoSink
    from danet_runtime.sources import open_source
    from danet_runtime.stream import Stream

    report = report or _report_beside(output, masks)
    _check_apart({"SOURCE": Path(source), "--output": output, "--masks": masks, "--report": report})
    if report is not None and report.exists() and not overwrite:
        raise UsageError(
            f"{report} exists already; give another path with --report, or --overwrite to replace it"
        )
    for target in (output, report):
        if target is not None:
            check_file_target(target)
    sinks: list[Sink] = []
    if output is not None:
        sinks.append(VideoSink(output, legend=legend, overwrite=overwrite))
    if masks is not None:
        sinks.append(MasksSink(masks, overwrite=overwrite))

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    failure: DanetError | None = None
    interrupted = False
    with Segmenter(bundle, precision, threads=threads) as segmenter:
        frames = open_source(source)
        stream = Stream(segmenter, frames, sinks, policy, max_frames=max_frames)
        limits = [limit for limit in (frames.count, max_frames) if limit is not None]
        try:
            with stream, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task(
                    f"{segmenter.precision}, {segmenter.backend.name}", total=min(limits, default=None)
                )
                for _ in stream:
                    progress.update(task, completed=stream.frames_out)
        except KeyboardInterrupt:
            interrupted = True
        except DanetError as error:
            failure = error
        done = stream.report()
        live = frames.live
    if report is not None and done.frames_in:
        done.write(report)
    _show(done, [path for path in (output, masks, report) if path is not None and path.exists()])
    if failure is not None:
        raise failure
    if interrupted and not live:
        typer.echo(f"danet: interrupted after {done.frames_out} frames; the outputs hold these", err=True)
        raise typer.Exit(1)


def _check_apart(paths: dict[str, Path | None]) -> None:
    """Refuse outputs that would overwrite the source or each other, whatever --overwrite says."""
    from danet_runtime.errors import UsageError

    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        other = seen.setdefault(path.resolve(), name)
        if other != name:
            raise UsageError(f"{other} and {name} are both {path}; give each its own path")


def _report_beside(output: Path | None, masks: Path | None) -> Path | None:
    if output is not None:
        return output.with_suffix(".json")
    return masks / "report.json" if masks is not None else None


def _show(report: StreamReport, written: list[Path]) -> None:
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
        console.print(f"written: {path}", soft_wrap=True, markup=False)
