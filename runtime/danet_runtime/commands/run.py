"""``danet run``: a bundle over videos, pictures or cameras."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from danet_runtime.commands.arguments import TrustedKeys

if TYPE_CHECKING:
    from rich.console import Console

    from danet_runtime.health import HealthEvent


def run(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `danet export` or `danet calibrate`.")],
    source: Annotated[
        list[str],
        typer.Argument(
            help="Video file, picture, folder of pictures, pattern such as 'a/*.png', camera:0, rtsp://..., "
            "http://..., csi://0, gst:PIPELINE, or synthetic: for a test pattern. Several share the model in "
            "turn; NAME=SOURCE names each."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Overlay video: .mp4, .m4v, .mov, .mkv, .avi; of pictures, 10 a second."
        ),
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder for one PNG with labels a frame.")] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="Further output: a video file, masks:FOLDER, jsonl:FILE, window:, udp://HOST:PORT, "
            "rtsp://..., gst:PIPELINE, shm:NAME; may be given again."
        ),
    ] = None,
    black_box: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the last seconds of frames, masks and events, written on a fault and on "
            "SIGUSR1; `danet replay` shows it."
        ),
    ] = None,
    black_box_seconds: Annotated[float, typer.Option(min=1, help="How many seconds it keeps.")] = 30.0,
    black_box_mb: Annotated[int, typer.Option(min=1, help="How many megabytes it keeps at most.")] = 256,
    report: Annotated[
        Path | None, typer.Option(help="JSON report; by default beside the video, or in the folder of masks.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Variant; by default the most precise in the bundle, with TensorRT fp16."),
    ] = None,
    backend: Annotated[
        Literal["onnxruntime", "tensorrt", "tensorrt-rtx"],
        typer.Option(help="What runs the model; TensorRT takes an engine that `danet build` has built here."),
    ] = "onnxruntime",
    engine_dir: Annotated[
        Path | None, typer.Option(help="Where engines are kept; the user's cache where it is not given.")
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build the engine first, where there is none that runs here.")
    ] = False,
    ladder: Annotated[
        list[Path] | None,
        typer.Option(help="Faster bundle to step down to when deadlines are missed; may be given again."),
    ] = None,
    policy: Annotated[
        Literal["every", "latest"] | None,
        typer.Option(
            help="every: nothing is lost; latest: old frames are dropped. Default: latest for a camera."
        ),
    ] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="A result that is older than this at delivery is late.")
    ] = None,
    late: Annotated[
        Literal["mark", "drop"], typer.Option(help="Late results are delivered marked, or dropped.")
    ] = "mark",
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play files at their own rate, as if they were cameras.")
    ] = False,
    source_timeout_s: Annotated[
        float, typer.Option(help="A source that gives no frame for so long is stuck.")
    ] = 2.0,
    inference_timeout_s: Annotated[
        float, typer.Option(help="An inference that takes so long is stuck: a fault.")
    ] = 5.0,
    stale_after_s: Annotated[float, typer.Option(help="Masks of a camera older than this are stale.")] = 1.0,
    give_up_after_s: Annotated[
        float | None, typer.Option(help="End when a camera is lost for so long; by default never.")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one inference.")] = None,
    trusted_key: TrustedKeys = None,
    legend: Annotated[bool, typer.Option("--legend", help="Draw the names of the classes.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
) -> None:
    """Segment videos, pictures or cameras; write overlays, masks and a report.

    With several sources, the paths of --output and --masks hold {camera}. Exit codes: 0 ended as it should,
    1 a source, a sink or the model failed, 2 wrong usage, 3 a fault: the process must be started again.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from danet_runtime.blackbox import BlackBox
    from danet_runtime.bundle import Bundle
    from danet_runtime.commands.collisions import check_apart
    from danet_runtime.commands.ending import show, write_report
    from danet_runtime.commands.engines import open_segmenter
    from danet_runtime.commands.interruption import ending_in_order, on_request
    from danet_runtime.commands.outputs import (
        named_sources,
        open_all,
        path_of_camera,
        places_of,
        report_beside,
        text_of_camera,
    )
    from danet_runtime.errors import DanetError, UsageError
    from danet_runtime.files import check_file_target
    from danet_runtime.loop.options import StreamOptions
    from danet_runtime.sinks import open_sink
    from danet_runtime.sinks.window import WindowSink
    from danet_runtime.stream import Stream

    named = named_sources(source)
    outputs = {name: path_of_camera(output, name, len(named), "--output") for name in named}
    folders = {name: path_of_camera(masks, name, len(named), "--masks") for name in named}
    first = next(iter(named))
    if report is None and len(named) == 1:
        report = report_beside(outputs[first], folders[first])
    texts = {
        name: [
            *([str(outputs[name])] if output else []),
            *([f"masks:{folders[name]}"] if masks else []),
            *(text_of_camera(text, name, len(named)) for text in sink or ()),
        ]
        for name in named
    }
    box_folders = (
        {}
        if black_box is None
        else {name: black_box / name if len(named) > 1 else black_box for name in named}
    )
    check_apart(named, (bundle, *(ladder or ())), places_of(texts, box_folders, report))
    if report is not None and report.exists() and not overwrite:
        raise UsageError(
            f"{report} exists already; give another path with --report, or --overwrite to replace it"
        )
    for target in (*outputs.values(), report):
        if target is not None:
            check_file_target(target)
    sinks = {
        name: [open_sink(text, legend=legend, overwrite=overwrite) for text in texts[name]] for name in named
    }
    boxes = []
    for name, folder in box_folders.items():
        boxes.append(BlackBox(folder, seconds=black_box_seconds, megabytes=black_box_mb))
        sinks[name].append(boxes[-1])
    options = StreamOptions(
        deadline_ms=deadline_ms,
        late=late,
        source_timeout_s=source_timeout_s,
        inference_timeout_s=inference_timeout_s,
        stale_after_s=stale_after_s,
        give_up_after_s=give_up_after_s,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    failure: DanetError | None = None
    opened = [Bundle.open(path, trusted_key or None) for path in (bundle, *(ladder or ()))]
    with ExitStack() as stack:
        segmenters = [
            stack.enter_context(
                open_segmenter(
                    one, precision, backend, threads=threads, engine_folder=engine_dir, build=build
                )
            )
            for one in opened
        ]
        frames = open_all(named, realtime, segmenters[0].pixels)
        stream = Stream(
            segmenters,
            frames,
            sinks,
            policy,
            max_frames=max_frames,
            options=options,
            listeners=[lambda event: _tell(console, event), *(box.note for box in boxes)],
        )
        stack.callback(stream.close)
        for window in (one for several in sinks.values() for one in several):
            if isinstance(window, WindowSink):
                window.on_quit = stream.stop
        for box in boxes:
            box.context = lambda: stream.report().to_dict()
        stack.enter_context(on_request(boxes))
        counts = [one.count for one in frames.values()]
        known = sum(count for count in counts if count is not None) if None not in counts else None
        limits = [limit for limit in (known, max_frames and max_frames * len(named)) if limit is not None]
        stream.start()
        # From here to the end a signal asks for the end, and cuts short neither outputs nor the report.
        signals = stack.enter_context(ending_in_order(stream.stop))
        try:
            with stream, Progress(*columns, console=console, transient=True) as progress:
                task = progress.add_task(
                    f"{segmenters[0].precision}, {segmenters[0].backend.name}",
                    total=min(limits, default=None),
                )
                for _ in stream:
                    progress.update(task, completed=stream.frames_out)
        except DanetError as error:
            failure = error
        for box in boxes:
            box.finish()
        done = stream.report()
        problems = [f"the black box is missing: {why}" for box in boxes for why in box.unwritten]
        if report is not None:
            problems += write_report(done, report)
        written = [
            *outputs.values(),
            *folders.values(),
            report,
            *(path for box in boxes for path in box.written),
        ]
        problems += show(done, [path for path in written if path is not None and path.exists()])
        for problem in problems:
            typer.echo(f"danet: error: {problem}", err=True)
        if failure is not None:
            raise failure
        was_cut_off = (
            bool(signals) and done.ending == "stopped" and not any(one.live for one in frames.values())
        )
        if was_cut_off:
            typer.echo(f"danet: interrupted after {done.frames_out} frames; the outputs hold these", err=True)
        if was_cut_off or problems:
            raise typer.Exit(1)


def _tell(console: Console, event: HealthEvent) -> None:
    if event.state != "starting" and (event.previous, event.state) != ("starting", "ready"):
        reasons = f": {'; '.join(event.reasons)}" if event.reasons else ""
        console.print(f"danet: {event.state}{reasons}", highlight=False, markup=False, soft_wrap=True)
