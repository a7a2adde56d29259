"""``danet calibrate``; nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from danet_runtime.bundle import Manifest


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, as `danet export` wrote it.")],
    images: Annotated[
        Path, typer.Option(help="Frames of the camera: a data set (its train split is taken) or any folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle folder to write.")],
    count: Annotated[int, typer.Option(min=1, help="Calibrate on at most so many images.")] = 128,
    method: Annotated[
        Literal["max", "entropy"], typer.Option(help="How the range of a tensor is found.")
    ] = "max",
    labelled: Annotated[
        Path | None, typer.Option(help="Data set to measure the accuracy of every variant on.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the labelled data set.")] = "val",
    classes: Annotated[
        str | None,
        typer.Option(help="classes.yaml, or the name of a known table, for the labelled data set."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
) -> None:
    """Quantise a bundle to INT8 on real images, and measure the accuracy of every variant."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from danet_runtime.bundle import Bundle
    from danet_runtime.bundle.reader import MANIFEST_NAME
    from danet_runtime.files import check_folder_target

    check_folder_target(output, MANIFEST_NAME, overwrite=overwrite)
    opened = Bundle.open(bundle)

    from danet_calibration.images import choose_images
    from danet_calibration.pipeline import LabelledSet, calibrate_bundle, require_calibratable
    from danet_train.data.layouts import open_dataset

    dataset = (
        LabelledSet(f"{labelled.name} {split}", open_dataset(labelled, split, classes)) if labelled else None
    )
    require_calibratable(opened, dataset, output)
    chosen = choose_images(images, count)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def step(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of or None)

        manifest = calibrate_bundle(opened, chosen, method, dataset, output, overwrite=overwrite, step=step)
    _show(console, output, manifest)


def _show(console: Console, output: Path, manifest: Manifest) -> None:
    import json

    from rich.table import Table

    table = Table("file", "MiB", "mIoU", "pixel accuracy", title=str(output))
    for precision, variant in manifest.variants.items():
        accuracy = variant.accuracy
        scores = (f"{accuracy.miou:.4f}", f"{accuracy.pixel_accuracy:.4f}") if accuracy else ("-", "-")
        table.add_row(f"model.{precision}.onnx", f"{variant.file.bytes / 2**20:.1f}", *scores)
    console.print(table)
    report = json.loads((output / manifest.reports["calibration"].path).read_text(encoding="utf-8"))
    console.print(
        f"{report['conv_mac_share_int8']:.1%} of the convolution MACs run on INT8. INT8 and FP32 give "
        f"the same label to {report['label_agreement_int8_fp32']:.2%} of the pixels of "
        f"{report['label_agreement_frames']} frames. INT8 gives {report['golden_agreement_int8']:.2%} of "
        f"the golden frame's labels; {manifest.golden.agreement['int8']:.0%} is required."
    )
    if all(variant.accuracy is None for variant in manifest.variants.values()):
        console.print("No labelled images were given (--labelled): the accuracy is not measured.")
