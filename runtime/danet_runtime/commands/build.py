"""``danet build``; nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def build(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    target: Annotated[list[str], typer.Option(help="GPU architecture, e.g. sm_89; may be given again.")],
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="Which model of the bundle.")
    ] = "fp16",
    backend: Annotated[
        Literal["tensorrt-rtx"], typer.Option(help="What builds the engine; tensorrt-rtx needs no GPU.")
    ] = "tensorrt-rtx",
    engine_dir: Annotated[
        Path | None, typer.Option(help="Where engines are kept; the user's cache where it is not given.")
    ] = None,
) -> None:
    """Build a TensorRT engine from a bundle, with a manifest beside it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from danet_runtime.bundle import Bundle
    from danet_runtime.tensorrt.engine_store import default_engine_folder, store_engine
    from danet_runtime.tensorrt.rtx_builder import build_engine

    opened = Bundle.open(bundle)
    variant = opened.variant(precision)
    model = opened.read(variant.file)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{backend} {precision}", total=None)
        built = build_engine(
            model,
            target,
            lambda phase, step, steps: bar.update(task, description=phase[:48], completed=step, total=steps),
        )
    path, manifest = store_engine(
        engine_dir or default_engine_folder(),
        built,
        bundle_sha256=opened.sha256,
        model_sha256=variant.file.sha256,
        precision=precision,
        attention="reference",
        targets=tuple(dict.fromkeys(target)),
    )
    table = Table("", "", show_header=False, title=str(path))
    table.add_row("library", f"TensorRT for RTX {manifest.library_version}")
    table.add_row("targets", ", ".join(manifest.targets))
    table.add_row("precision", f"{precision}, attention as in the function bodies ({manifest.attention})")
    table.add_row("size", f"{manifest.engine_bytes / 2**20:.1f} MiB")
    table.add_row("activation memory", f"{manifest.activation_memory_bytes / 2**20:.1f} MiB")
    table.add_row("build time", f"{manifest.build_seconds:.1f} s")
    console.print(table)
