"""``danet profile``: how long one frame takes on this machine, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def profile(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `danet export` or `danet calibrate`.")],
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Variant; by default the most precise in the bundle."),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="How many times the frame is segmented and measured.")
    ] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="How many times before, not measured.")] = 5,
    image: Annotated[
        Path | None, typer.Option(help="Picture of any size; by default the bundle's golden frame.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one inference.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the measurement to this file.")
    ] = None,
) -> None:
    """Measure the latency of one frame, stage by stage, after a warm-up."""
    from rich.console import Console
    from rich.progress import Progress

    from danet_runtime.commands.tables import latency_table
    from danet_runtime.files import write_json
    from danet_runtime.profiling import measure, profile_frame
    from danet_runtime.segmenter import Segmenter

    console = Console(highlight=False)
    with Segmenter(bundle, precision, threads=threads) as segmenter:
        frame, labels, origin = profile_frame(segmenter.bundle, image)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("measuring", total=warmup + frames)
            measured = measure(
                segmenter,
                frame,
                labels,
                frames=frames,
                warmup=warmup,
                on_round=lambda: progress.advance(task),
            )
        console.print(latency_table(measured.latency, "remainder"))
        console.print(
            f"{segmenter.precision} in {segmenter.backend.name}, {origin}, {frame.shape[0]}x{frame.shape[1]}"
            + ("" if measured.agreement is None else f", agreement with its labels {measured.agreement:.4f}"),
            soft_wrap=True,
            markup=False,
        )
        if json_file is not None:
            write_json(json_file, measured.to_dict(segmenter, origin))
            console.print(f"written: {json_file}", soft_wrap=True, markup=False)
