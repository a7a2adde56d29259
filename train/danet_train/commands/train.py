"""``danet train``: a dataset becomes a checkpoint, or a checkpoint one that keeps its accuracy in INT8."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

CLASSES_HELP = "A classes.yaml, or the name of a table: cityscapes, camvid, ade20k, voc2012."
_LINES = 10
"""So many lines tell of the updates where the output is no terminal."""


def _list_configs(asked: bool) -> None:
    if not asked:
        return
    from rich.console import Console

    from danet_train.commands.config_list import config_table

    Console().print(config_table())
    raise typer.Exit


def train(
    data: Annotated[
        Path,
        typer.Option(
            help="Root of the dataset: Cityscapes, ADE20K (ADEChallengeData2016) or PASCAL VOC 2012 as "
            "downloaded, the last with SegmentationClassAug and aug.txt for its split train, or a folder of "
            "SPLIT/images, SPLIT/labels and classes.yaml."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The checkpoint to write, of the last update. Beside NAME.pt stand NAME.json, the record, "
            "and, where the run evaluates on its way, NAME.best.pt, the weights of the highest mIoU.",
        ),
    ],
    config: Annotated[str, typer.Option(help="A packaged configuration's name, or a YAML file.")] = "demo",
    quantize: Annotated[
        Path | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Continue from this checkpoint under INT8's rounding; --config is the one that it was "
            "trained with. The activations' scales are learned and go with the checkpoint: `danet export` "
            "carries them into the bundle, `danet calibrate` uses them.",
        ),
    ] = None,
    train_split: Annotated[str, typer.Option(help="The split to learn from.")] = "train",
    val_split: Annotated[str, typer.Option(help="The split to score on.")] = "val",
    classes: Annotated[str | None, typer.Option(help=CLASSES_HELP)] = None,
    bad_samples: Annotated[
        Literal["stop", "skip"] | None,
        typer.Option(
            help="At an image or label that is missing, damaged or inconsistent: stop, or skip it, with "
            "another sample in its place, and count. Instead of the configuration's."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Updates, instead of the configuration's (with --quantize a tenth of them)."),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Score the validation split after so many updates, instead of the configuration's "
            "loop.evaluate_every, and keep the best weights.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configuration's.")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Instead of the configuration's.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch on a CPU, instead of the configuration's.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a checkpoint that is there, and its record.")
    ] = False,
    list_configs: Annotated[
        bool,
        typer.Option(
            "--list-configs",
            callback=_list_configs,
            is_eager=True,
            help="Print the packaged configurations with the mIoU that their references publish, and end.",
        ),
    ] = False,
) -> None:
    """Train a DANet and write a checkpoint with its scores, or fine-tune one for INT8."""
    # Before torch is loaded: its threads must not spin while they wait. On two cores with other work, finding
    # the first scales of the demo's network took 60 s with spinning, 7 s without.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from danet_train.checkpoint import read_checkpoint
    from danet_train.commands.tables import score_table
    from danet_train.data.layouts import open_dataset
    from danet_train.errors import UsageError
    from danet_train.metrics import ConfusionMatrix
    from danet_train.training.config import read_config
    from danet_train.training.distributed import pick_device
    from danet_train.training.fine_tune import EVALUATIONS, fine_tune_to_file, fine_tuning_config
    from danet_train.training.loop import Progress as Step
    from danet_train.training.run import best_path, check_output, record_path, train_to_file

    check_output(output, overwrite=overwrite)
    if quantize is not None and evaluate_every is not None:
        raise UsageError("--evaluate-every is for a training; with --quantize leave it out")
    source = None if quantize is None else read_checkpoint(quantize)
    settings = read_config(
        config,
        steps=None if source else steps,
        seed=seed,
        device=device,
        threads=threads,
        bad_samples=bad_samples,
    )
    if evaluate_every is not None:
        loop = settings.loop.model_copy(update={"evaluate_every": evaluate_every})
        settings = settings.model_copy(update={"loop": loop})
    if source is not None:
        settings = fine_tuning_config(settings, source, steps=steps)
    learn, score = (
        open_dataset(data, split, classes, bad_samples=settings.bad_samples)
        for split in (train_split, val_split)
    )
    console = Console()
    what = "training" if source is None else "fine-tuning"
    console.print(
        f"DANet-R{settings.model.depth}, {what}, {settings.steps} steps of {settings.batch_size} on "
        f"{pick_device(settings.device)}: {len(learn)} samples to learn from, {len(score)} to score"
    )
    for split, dataset in ((train_split, learn), (val_split, score)):
        if dataset.skipped:
            count, first = len(dataset.skipped), dataset.skipped[0]
            console.print(f"{split}: {count} images are left out; the first: {first.why}")
    plain = not console.is_terminal  # where no bar is seen, lines tell how far it is
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=plain) as progress:
        training = progress.add_task(what, total=settings.steps)
        evaluations = EVALUATIONS
        if source is None:
            evaluations = -(-settings.steps // (settings.loop.evaluate_every or settings.steps))
        scoring = progress.add_task("scoring", total=len(score) * evaluations)

        def on_step(step: Step) -> None:
            progress.update(training, completed=step.step, description=f"{what}, loss {step.loss:.3f}")
            tenth = step.step * _LINES // settings.steps
            if plain and tenth > (step.step - 1) * _LINES // settings.steps:
                console.print(f"step {step.step} of {settings.steps}, loss {step.loss:.3f}")
            if plain and source is None and step.step == settings.steps:
                console.print(f"scoring {len(score)} samples")

        def on_score(step: int, matrix: ConfusionMatrix) -> None:
            if settings.loop.evaluate_every is not None:
                console.print(f"step {step} of {settings.steps}, mIoU {matrix.miou:.4f} on {val_split}")

        def on_sample() -> None:
            progress.advance(scoring)

        def on_phase(phase: str) -> None:
            progress.update(scoring, description=phase)
            if plain:
                console.print(phase)

        if source is None:
            matrix, seconds = train_to_file(
                settings,
                learn,
                score,
                output,
                overwrite=overwrite,
                on_step=on_step,
                on_sample=on_sample,
                on_score=on_score,
            )
            int8 = None
        else:
            tuned = fine_tune_to_file(
                settings,
                source,
                learn,
                score,
                output,
                overwrite=overwrite,
                on_step=on_step,
                on_sample=on_sample,
                on_phase=on_phase,
            )
            matrix, seconds = tuned.float32, tuned.seconds
            int8 = f"{tuned.int8_before.miou:.4f} before the fine-tuning, {tuned.int8.miou:.4f} after"
    console.print(score_table(matrix, score.classes))
    if int8 is not None:
        console.print(f"The table is in floating point. mIoU under INT8's rounding: {int8}.")
    console.print(f"{output}: trained in {seconds:.1f} s; record in {record_path(output)}")
    if best_path(output).exists():
        console.print(f"{best_path(output)}: the weights of the best evaluation")
