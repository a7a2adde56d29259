"""``danet run``: a bundle over videos, pictures or cameras."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from danet_runtime.cli.console.loudness import is_quiet
from danet_runtime.cli.console.printing import open_console, tell
from danet_runtime.cli.options import overlays
from danet_runtime.cli.options.arguments import MODEL, OUTPUTS, PACE, RARE, EngineDir, TrustedKeys
from danet_runtime.cli.options.precisions import HiddenPrecision, backend_and_precision
from danet_runtime.cli.options.registered import backend_name

if TYPE_CHECKING:
    from rich.console import Console

    from danet_runtime.results.health import HealthEvent


def run(
    bundle: Annotated[Path, typer.Argument(help="Of `danet export` or `danet calibrate`.")],
    source: Annotated[
        list[str],
        typer.Argument(help="One of: {sources}. Several share the model in turn; NAME=SOURCE names each."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Overlay: a video, a picture (.png, .jpg) of one frame, or overlays:FOLDER.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for the labels, one PNG a frame.", rich_help_panel=OUTPUTS
        ),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SINK", help="Further output: {sinks}; may be given again.", rich_help_panel=OUTPUTS
        ),
    ] = None,
    split_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="MIN",
            help="Minutes after which a new part of every video and JSON lines begins: drive.mp4 becomes "
            "drive-0000.mp4, drive-0001.mp4 and so on, each whole by itself.",
            rich_help_panel=RARE,
        ),
    ] = None,
    flight_recorder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the last seconds of frames, masks and events, written on a fault and on "
            "SIGUSR1, each time into a new folder in it; `danet replay` shows them. A request is answered at "
            "once, those of the 5 s after it together by one more.",
            rich_help_panel=RARE,
        ),
    ] = None,
    flight_recorder_keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of its recordings to keep, those with the highest numbers; by default all, but on "
            "request no more than take 16 times --flight-recorder-mb.",
            rich_help_panel=RARE,
        ),
    ] = None,
    flight_recorder_seconds: Annotated[
        float, typer.Option(min=1, metavar="S", help="Seconds that it keeps.", rich_help_panel=RARE)
    ] = 30.0,
    flight_recorder_mb: Annotated[
        int, typer.Option(min=1, metavar="MB", help="Megabytes that it keeps at most.", rich_help_panel=RARE)
    ] = 256,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            "--json",
            metavar="FILE",
            help="JSON report; by default beside these; - for standard output.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace files that exist.",
            rich_help_panel=OUTPUTS,
        ),
    ] = False,
    alpha: overlays.Alpha = 0.5,
    legend: overlays.Legend = False,
    contours: overlays.Contours = False,
    names: overlays.Names = False,
    head_up: overlays.HeadUp = False,
    palette: overlays.Palette = "bundle",
    upsample: overlays.Upsample = "nearest",
    grey_masks: overlays.GreyMasks = False,
    backend: Annotated[
        str,
        typer.Option(
            parser=backend_name,
            metavar="BACKEND",
            help="BACKEND or BACKEND:PRECISION (fp32, fp16, int8), as tensorrt:int8: {backends}. Without a "
            "precision the most precise in the bundle, with TensorRT fp16.",
            rich_help_panel=MODEL,
        ),
    ] = "onnxruntime",
    precision: HiddenPrecision = None,
    engine_dir: EngineDir = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build",
            help="Build the engine first, where there is none that runs here.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="CPU threads of one inference.", rich_help_panel=MODEL),
    ] = None,
    fallback: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="BUNDLE",
            help="Faster bundle to step down to when deadlines are missed; may be given again.",
            rich_help_panel=RARE,
        ),
    ] = None,
    trusted_key: TrustedKeys = None,
    policy: Annotated[
        Literal["every", "latest"] | None,
        typer.Option(
            help="every: nothing is lost, so the source waits for the slowest output; latest: the newest "
            "frame counts, so a slow output misses frames, which are counted. Default: every for files, "
            "latest for cameras.",
            rich_help_panel=PACE,
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of frames to stop after.", rich_help_panel=PACE),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime", help="Play files at their own rate, as if they were cameras.", rich_help_panel=PACE
        ),
    ] = False,
    deadline_ms: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="A result that is older than this at delivery is late.",
            rich_help_panel=PACE,
        ),
    ] = None,
    late: Annotated[
        Literal["mark", "drop"],
        typer.Option(help="Late results are delivered marked, or dropped.", rich_help_panel=RARE),
    ] = "mark",
    damaged: Annotated[
        Literal["drop", "mark", "stop"],
        typer.Option(
            "--damaged",
            "--on-damage",
            help="Frames that are known or likely to be corrupt (packets lost, no key frame yet, the decoder "
            "says so) are counted and left out, or delivered with the reason; the health says so either way. "
            "A video file goes on behind them, and the exit code is 1; with stop it ends at the first one.",
            rich_help_panel=RARE,
        ),
    ] = "drop",
    source_timeout_s: Annotated[
        float,
        typer.Option(
            metavar="S", help="A source that gives no frame for this time is stuck.", rich_help_panel=RARE
        ),
    ] = 2.0,
    inference_timeout_s: Annotated[
        float,
        typer.Option(
            metavar="S", help="An inference that takes this time is stuck: a fault.", rich_help_panel=RARE
        ),
    ] = 5.0,
    stale_after_s: Annotated[
        float,
        typer.Option(metavar="S", help="Masks of a camera older than this are stale.", rich_help_panel=RARE),
    ] = 1.0,
    give_up_after_s: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="End when a camera is lost for this time; by default never.",
            rich_help_panel=RARE,
        ),
    ] = None,
    wait_for_sources: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="S",
            help="Seconds to wait until all cameras have come up. By default those that are there "
            "begin a second after the first of them; one that is missing then is awaited further, and joins "
            "when it comes.",
            rich_help_panel=RARE,
        ),
    ] = 0.0,
    camera_size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=HxW",
            help="NAME=HEIGHTxWIDTH that outputs expect of a camera that is missing at the start; one that "
            "comes with another size is taken with that. By default the bundle's frame size. May be given "
            "again.",
            rich_help_panel=RARE,
        ),
    ] = None,
) -> None:
    """Segment videos, pictures or cameras; write overlays, masks and a report.

    Outputs may hold {start}, the time in UTC, and of several cameras must
    hold {camera}. The exit code is 3 after a fault: start again.

    Example: danet run bundle drive.mp4 -o overlay.mp4

    Example: danet run bundle camera:0 --backend tensorrt:fp16 --masks masks
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from danet_runtime.bundle import Bundle
    from danet_runtime.cli.live.cameras import check_sources, named_sources, sizes_of
    from danet_runtime.cli.live.ending import show, start_reported, write_report
    from danet_runtime.cli.live.interruption import ending_in_order, on_request
    from danet_runtime.cli.live.outputs import OutputOptions, Outputs
    from danet_runtime.cli.live.sink_verdicts import failed_sinks, impaired_sinks
    from danet_runtime.cli.live.status import reporting_status
    from danet_runtime.cli.options.engines import open_segmenter
    from danet_runtime.recorder.recorder import FlightRecorder
    from danet_runtime.results.style import OverlayStyle
    from danet_runtime.sinks.protocol.abilities import QuittableSink
    from danet_runtime.sources.opening import open_sources
    from danet_runtime.stream.state.options import StreamOptions
    from danet_runtime.stream.stream import Stream

    backend, precision = backend_and_precision(backend, precision)
    named = named_sources(source)
    check_sources(named)
    sizes = sizes_of(camera_size or [], named)
    outputs = Outputs.of(
        list(named),
        OutputOptions(output, masks, sink or (), flight_recorder, report, split_minutes, overwrite),
    )
    outputs.check(named, (bundle, *(fallback or ())))
    outputs.remove_leftovers()
    sinks = outputs.open_sinks(
        OverlayStyle(alpha, legend, contours, names, head_up, palette, upsample), grey_masks=grey_masks
    )
    recorders = []
    for name, folder in outputs.recordings.items():
        recorders.append(
            FlightRecorder(
                folder,
                seconds=flight_recorder_seconds,
                megabytes=flight_recorder_mb,
                keep=flight_recorder_keep,
            )
        )
        sinks[name].append(recorders[-1])
    options = StreamOptions(
        deadline_ms=deadline_ms,
        late=late,
        source_timeout_s=source_timeout_s,
        inference_timeout_s=inference_timeout_s,
        stale_after_s=stale_after_s,
        give_up_after_s=give_up_after_s,
        copy=False,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = open_console(stderr=True)
    failure: Exception | None = None
    with ExitStack() as stack:
        with start_reported(outputs.report if report is not None else None, bundle) as made:
            segmenters = [
                stack.enter_context(
                    open_segmenter(
                        one, precision, backend, threads=threads, engine_folder=engine_dir, build=build
                    )
                )
                for one in [Bundle.open(path, trusted_key or None) for path in (bundle, *(fallback or ()))]
            ]
            frames = open_sources(
                named,
                {name: sizes.get(name, segmenters[0].frame_size_hw) for name in named},
                realtime=realtime,
                pixels=segmenters[0].pixels,
                damaged=damaged,
                wait_s=wait_for_sources,
                tell=lambda words: tell(f"danet: {words}", err=True),
            )
            outputs.check_counts(
                {name: max_frames if max_frames == 1 else one.count for name, one in frames.items()}
            )
            stream = Stream(
                segmenters,
                frames,
                sinks,
                policy,
                max_frames=max_frames,
                options=options,
                listeners=[lambda event: _tell(console, event), *(recorder.note for recorder in recorders)],
            )
            made.append(stream)
            stack.callback(stream.close)
            for one in (one for several in sinks.values() for one in several):
                if isinstance(one, QuittableSink):
                    one.on_quit = stream.stop
            for recorder in recorders:
                recorder.context = lambda: stream.report().to_dict()
            stack.enter_context(on_request(recorders))
            stack.enter_context(reporting_status(stream))
            outputs.warn_of_nothing()
            stream.start()
        # From here to the end a signal asks for the end, and cuts short neither outputs nor the report.
        signals = stack.enter_context(ending_in_order(stream.stop))
        counts = [one.count for one in frames.values()]
        known = sum(count for count in counts if count is not None) if None not in counts else None
        limits = [limit for limit in (known, max_frames and max_frames * len(named)) if limit is not None]
        try:
            with stream, Progress(*columns, console=console, transient=True, disable=is_quiet()) as progress:
                task = progress.add_task(
                    f"{segmenters[0].precision}, {segmenters[0].backend.name}",
                    total=min(limits, default=None),
                )
                for _ in stream:
                    progress.update(task, completed=stream.frames_out)
        except Exception as error:  # noqa: BLE001 - raised again when the outputs and the report are written
            failure = error
        unfinished = [
            folder
            for folder, recorder in zip(outputs.recordings.values(), recorders, strict=True)
            if not recorder.finish()
        ]
        done = stream.report()
        problems = [
            f"the flight recording is missing: {why}" for recorder in recorders for why in recorder.unwritten
        ]
        problems += [
            f"the flight recording in {folder} is not written yet; the disk is slow" for folder in unfinished
        ]
        if outputs.report is not None:
            problems += write_report(done, outputs.report)
        problems += show(done, outputs.report, [path for recorder in recorders for path in recorder.written])
        problems += failed_sinks(done)
        for problem in problems:
            tell(f"danet: error: {problem}", err=True)
        for warning in impaired_sinks(done):
            tell(f"danet: warning: {warning}", err=True)
        if failure is not None:
            raise failure
        was_cut_off = (
            bool(signals) and done.ending == "stopped" and not any(one.live for one in frames.values())
        )
        if was_cut_off:
            tell(f"danet: interrupted after {done.frames_out} frames; the outputs hold these", err=True)
        if was_cut_off or problems:
            raise typer.Exit(1)


def _tell(console: Console, event: HealthEvent) -> None:
    if event.state != "starting" and (event.previous, event.state) != ("starting", "ready"):
        reasons = f": {'; '.join(event.reasons)}" if event.reasons else ""
        console.print(f"danet: {event.state}{reasons}", soft_wrap=True)
