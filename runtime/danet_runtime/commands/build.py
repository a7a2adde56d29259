"""``danet build``; nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from danet_runtime.bundle import Bundle, Precision
    from danet_runtime.tensorrt.builder import BuiltEngine, Progress
    from danet_runtime.tensorrt.lowering import Attention, Lowering


def build(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="Which model of the bundle.")
    ] = "fp16",
    backend: Annotated[
        Literal["tensorrt", "tensorrt-rtx"],
        typer.Option(help="tensorrt builds for this machine's GPU; tensorrt-rtx ahead of time, without one."),
    ] = "tensorrt-rtx",
    target: Annotated[
        list[str] | None,
        typer.Option(help="GPU architecture for tensorrt-rtx, e.g. sm_89; may be given again."),
    ] = None,
    attention: Annotated[
        Literal["plugin", "native", "reference"] | None,
        typer.Option(help="How the attention is built; chosen, and said, where it is not given."),
    ] = None,
    kernels: Annotated[
        Literal["tuned", "small"],
        typer.Option(help="Of the plugins; small needs at most 48 KiB of shared memory a block."),
    ] = "tuned",
    engine_dir: Annotated[
        Path | None, typer.Option(help="Where engines are kept; the user's cache where it is not given.")
    ] = None,
) -> None:
    """Build a TensorRT engine from a bundle, with a manifest beside it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from danet_runtime.bundle import Bundle
    from danet_runtime.errors import UsageError
    from danet_runtime.tensorrt.engine_store import default_engine_folder, store_engine

    if backend == "tensorrt" and target:
        raise UsageError("tensorrt builds for the GPU of this machine; leave --target out")
    if backend == "tensorrt-rtx" and not target:
        raise UsageError(
            "tensorrt-rtx builds ahead of time; name each GPU with --target, e.g. --target sm_89"
        )
    if backend == "tensorrt-rtx" and kernels != "tuned":
        raise UsageError("tensorrt-rtx has no plugins; --kernels is for tensorrt, leave it out")
    opened = Bundle.open(bundle)
    variant = opened.variant(precision)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{backend} {precision}", total=None)

        def progress(phase: str, step: int, steps: int) -> None:
            bar.update(task, description=phase[:48], completed=step, total=steps)

        if backend == "tensorrt":
            from danet_runtime.tensorrt.device_builder import build_on_device

            built, lowering, arch = build_on_device(opened, precision, attention, kernels, progress)
            targets: tuple[str, ...] = (arch,)
        else:
            targets = tuple(dict.fromkeys(target or ()))
            built, lowering = _build_ahead(opened, precision, attention, targets, progress)
    path, manifest = store_engine(
        engine_dir or default_engine_folder(),
        built,
        bundle_sha256=opened.sha256,
        model_sha256=variant.file.sha256,
        precision=precision,
        attention=lowering.attention,
        library=backend,
        targets=targets,
        kernel_variant=kernels if lowering.attention == "plugin" else None,
    )
    table = Table("what", "value", show_header=False, title=str(path))
    table.add_row("library", f"{backend} {manifest.library_version}")
    table.add_row("targets", ", ".join(manifest.targets))
    table.add_row("precision", precision)
    table.add_row("attention", f"{lowering.attention}: {lowering.reason}")
    table.add_row("size", _mebibytes(manifest.engine_bytes))
    table.add_row("activation memory", _mebibytes(manifest.activation_memory_bytes))
    table.add_row("build time", f"{manifest.build_seconds:.1f} s")
    console.print(table)


def _build_ahead(
    bundle: Bundle,
    precision: Precision,
    asked: Attention | None,
    targets: tuple[str, ...],
    progress: Progress,
) -> tuple[BuiltEngine, Lowering]:
    from danet_runtime.dependencies import TENSORRT_RTX, require
    from danet_runtime.tensorrt.library import library_of
    from danet_runtime.tensorrt.lowering import choose_lowering, lowered_model
    from danet_runtime.tensorrt.rtx_builder import build_engine

    library = library_of(require(TENSORRT_RTX))
    lowering = choose_lowering(library, bundle, precision, None, asked)
    return build_engine(
        lowered_model(library, bundle, precision, lowering.attention), targets, progress
    ), lowering


def _mebibytes(size: int | None) -> str:
    return "not told by the builder" if size is None else f"{size / 2**20:.1f} MiB"
