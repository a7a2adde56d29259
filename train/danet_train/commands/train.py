"""``danet train``: a dataset becomes a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def train(
    data: Annotated[Path, typer.Option(help="Root of the dataset (Cityscapes' layout or a plain folder).")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The checkpoint to write; its record goes beside it.")
    ],
    config: Annotated[str, typer.Option(help="A packaged configuration's name, or a YAML file.")] = "demo",
    train_split: Annotated[str, typer.Option(help="The split to learn from.")] = "train",
    val_split: Annotated[str, typer.Option(help="The split to score on.")] = "val",
    classes: Annotated[str | None, typer.Option(help="A classes.yaml, or cityscapes or camvid.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates, instead of the configuration's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configuration's.")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Instead of the configuration's.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a checkpoint that is there, and its record.")
    ] = False,
) -> None:
    """Train a DANet and write a checkpoint with its scores."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from danet_train.commands.tables import score_table
    from danet_train.data.layouts import open_dataset
    from danet_train.training.config import read_config
    from danet_train.training.loop import Progress as Step
    from danet_train.training.loop import pick_device
    from danet_train.training.run import check_output, record_path, train_to_file

    check_output(output, overwrite=overwrite)
    settings = read_config(config, steps=steps, seed=seed, device=device)
    learn, score = open_dataset(data, train_split, classes), open_dataset(data, val_split, classes)
    console = Console()
    console.print(
        f"DANet-R{settings.model.depth}, {settings.steps} steps of {settings.batch_size} on "
        f"{pick_device(settings.device)}: {len(learn)} samples to learn from, {len(score)} to score"
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        training = progress.add_task("training", total=settings.steps)
        scoring = progress.add_task("scoring", total=len(score))

        def on_step(step: Step) -> None:
            progress.update(training, completed=step.step, description=f"training, loss {step.loss:.3f}")

        matrix, seconds = train_to_file(
            settings,
            learn,
            score,
            output,
            overwrite=overwrite,
            on_step=on_step,
            on_sample=lambda: progress.advance(scoring),
        )
    console.print(score_table(matrix, score.classes))
    console.print(f"{output}: trained in {seconds:.1f} s; record in {record_path(output)}")
