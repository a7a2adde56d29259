"""``danet profile``: how long one frame takes on this machine, stage by stage."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from danet_runtime.cli.console.json_output import is_stdout
from danet_runtime.cli.console.printing import open_console, progress_console
from danet_runtime.cli.options.arguments import FRAMES, MODEL, EngineDir, JsonFile, TrustedKeys, require_there
from danet_runtime.cli.options.precisions import HiddenPrecision, backend_and_precision
from danet_runtime.cli.options.registered import backend_name


def profile(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `danet export` or `danet calibrate`.")],
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
    frames: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="How many times the frame is segmented and measured.",
            rich_help_panel=FRAMES,
        ),
    ] = 50,
    warmup: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="How many times before, not measured.", rich_help_panel=FRAMES),
    ] = 5,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Picture of any size; by default the bundle's golden frame.",
            rich_help_panel=FRAMES,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="CPU threads of one inference.", rich_help_panel=MODEL),
    ] = None,
    trusted_key: TrustedKeys = None,
    json_file: JsonFile = None,
) -> None:
    """Measure the latency of one frame, stage by stage, after a warm-up.

    Example: danet profile bundle --backend tensorrt:fp16 --frames 200 --json -
    """
    from danet_runtime.bundle import Bundle
    from danet_runtime.bundle.golden import judge_golden
    from danet_runtime.cli.console.progress import ShownProgress
    from danet_runtime.cli.console.tables import latency_table
    from danet_runtime.cli.options.engines import open_segmenter
    from danet_runtime.files.atomic import write_json
    from danet_runtime.latency.profiling import measure, profile_frame

    backend, precision = backend_and_precision(backend, precision)
    console = open_console()
    if image is not None:
        require_there(image, "--image")
    opened = Bundle.open(bundle, trusted_key or None)
    with open_segmenter(
        opened, precision, backend, threads=threads, engine_folder=engine_dir, build=build
    ) as segmenter:
        frame, labels, origin = profile_frame(segmenter.bundle, image)
        rounds = count(1)
        with ShownProgress(progress_console(), "measuring", warmup + frames) as progress:
            measured = measure(
                segmenter,
                frame,
                labels,
                frames=frames,
                warmup=warmup,
                on_round=lambda: progress(next(rounds)),
            )
        console.print(latency_table(measured.latency, "remainder"))
        size = "{}x{}".format(*measured.frame_size_hw)
        console.print(
            f"{segmenter.precision} in {segmenter.backend.name}, {origin}, {size}"
            + ("" if measured.agreement is None else f", agreement with its labels {measured.agreement:.4f}"),
            soft_wrap=True,
        )
        if json_file is not None:
            write_json(json_file, measured.to_dict(segmenter, origin))
        if json_file is not None and not is_stdout(json_file):
            console.print(f"written: {json_file}", soft_wrap=True)
        if measured.agreement is not None:
            judge_golden(segmenter.bundle, segmenter.precision, measured.agreement).require(
                segmenter.backend.name
            )
