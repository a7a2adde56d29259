"""``danet eval``: the scores of a checkpoint on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(help="Of this project, of mmsegmentation or of DANet's authors.")
    ],
    data: Annotated[Path, typer.Option(help="Root of the dataset (Cityscapes' layout or a plain folder).")],
    split: Annotated[str, typer.Option(help="The split to score on.")] = "val",
    classes: Annotated[str | None, typer.Option(help="A classes.yaml, or cityscapes or camvid.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto takes CUDA where there is one.")
    ] = "auto",
) -> None:
    """Print per-class IoU, mIoU and pixel accuracy of a checkpoint on whole images."""
    import json

    from rich.console import Console
    from rich.progress import Progress

    from danet_train.checkpoint import read_checkpoint
    from danet_train.commands.tables import score_table
    from danet_train.data.layouts import open_dataset
    from danet_train.files import check_file_target, replacing
    from danet_train.training.distributed import pick_device
    from danet_train.training.evaluate import check_classes_agree, scores_of
    from danet_train.training.evaluate import evaluate as evaluate_model

    if json_file is not None:
        check_file_target(json_file)
    loaded = read_checkpoint(checkpoint)
    dataset = open_dataset(data, split, classes)
    check_classes_agree(loaded.classes, loaded.model.config.num_classes, dataset.classes)
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("scoring", total=len(dataset))
        matrix = evaluate_model(
            loaded.model.to(pick_device(device)),
            dataset,
            loaded.normalisation,
            lambda: progress.advance(task),
        )
    console.print(score_table(matrix, dataset.classes))
    if json_file is not None:
        record = {"checkpoint_sha256": loaded.sha256, "split": split, **scores_of(matrix, dataset.classes)}
        with replacing(json_file) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
