"""``danet replay``: a flight recording as a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danet_runtime.cli.console.printing import open_console, progress_console, tell
from danet_runtime.cli.options import overlays
from danet_runtime.cli.options.arguments import OUTPUTS, PACE, require_there

if TYPE_CHECKING:
    from danet_runtime.recorder.reader import FlightRecording


def replay(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A flight recording, or the folder given to `danet run --flight-recorder`: where several "
            "are in it, they are listed."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Video: .mp4, .m4v, .mov, .mkv, .avi. Without it, only what happened.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which camera; by default the first.", rich_help_panel=PACE),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=240.0,
            metavar="FPS",
            help="Frames a second; by default the recording's.",
            rich_help_panel=PACE,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a video that exists.", rich_help_panel=OUTPUTS)
    ] = False,
    alpha: overlays.Alpha = 0.5,
    legend: overlays.Legend = False,
    contours: overlays.Contours = False,
    names: overlays.Names = False,
    head_up: overlays.HeadUp = False,
    palette: overlays.Palette = "bundle",
    upsample: overlays.Upsample = "nearest",
) -> None:
    """Show what a flight recording holds, and write it as a video with the states drawn in.

    Example: danet replay faults -o last-seconds.mp4 --legend
    """
    from danet_runtime.cli.console.progress import ShownProgress
    from danet_runtime.errors import UsageError
    from danet_runtime.recorder.reader import FlightRecording
    from danet_runtime.results.style import OverlayStyle

    require_there(folder, "FOLDER")
    found = _chosen(folder)
    if len(found) > 1:
        _list(folder, found)
        if output is not None:
            raise UsageError(
                f"{folder} holds {len(found)} flight recordings; give one of them to write a video of"
            )
        return
    recording = FlightRecording(found[0])
    if found[0] != folder:
        tell(f"the only flight recording in {folder}: {found[0]}")
    _show(recording)
    if output is None:
        return
    from danet_runtime.recorder.replay import replay as write_replay

    shown = camera or next(iter(recording.cameras), None)
    total = sum(frame.camera == shown for frame in recording.manifest.frames)
    with ShownProgress(progress_console(), "replay", total) as progress:
        frames = write_replay(
            recording,
            output,
            camera=camera,
            fps=fps,
            style=OverlayStyle(alpha, legend, contours, names, head_up, palette, upsample),
            overwrite=overwrite,
            on_frame=progress,
        )
    tell(f"written: {output}, {frames} frames")


def _chosen(folder: Path) -> list[Path]:
    """Return the flight recordings in a folder; the folder itself if it is a recording, or holds none."""
    from danet_runtime.recorder.format import MANIFEST_NAME, recordings_in

    return [folder] if (folder / MANIFEST_NAME).exists() else recordings_in(folder) or [folder]


def _list(folder: Path, folders: Sequence[Path]) -> None:

    from danet_runtime.errors import SourceError
    from danet_runtime.recorder.reader import FlightRecording

    console = open_console()
    console.print(f"{len(folders)} flight recordings in {folder}, the oldest first:", soft_wrap=True)
    for path in folders:
        try:
            recording = FlightRecording(path)
        except SourceError as error:
            summary = str(error)
        else:
            summary = f"{len(recording)} frames of {', '.join(recording.cameras) or 'no camera'}; "
            summary += recording.manifest.reason
        console.print(f"{path}: {summary}", soft_wrap=True)


def _show(recording: FlightRecording) -> None:
    from rich.table import Table

    console = open_console()
    manifest = recording.manifest
    figures = manifest.figures
    console.print(f"reason: {manifest.reason}")
    frames = Table("camera", "frames", "ids", "seconds")
    for camera in recording.cameras:
        mine = [frame for frame in manifest.frames if frame.camera == camera]
        seconds = (mine[-1].capture_time_ns - mine[0].capture_time_ns) / 1e9
        ids = f"{mine[0].frame_id} to {mine[-1].frame_id}"
        frames.add_row(camera, str(len(mine)), ids, f"{seconds:.2f}")
    console.print(frames)
    console.print(
        f"{figures.seen} seen, {figures.skipped} skipped, {figures.kept_bytes / 2**20:.1f} MiB kept"
    )
    events = Table("s before writing", "state", "reasons")
    for event in recording.events:
        before_s = (manifest.written_monotonic_ns - event.monotonic_ns) / 1e9
        events.add_row(f"{before_s:.2f}", event.state, "; ".join(event.reasons))
    console.print(events)
