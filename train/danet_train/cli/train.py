"""``danet train``: a dataset becomes a checkpoint, or a checkpoint one that keeps its accuracy in INT8."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from danet_train.cli.options import DATA, LISTS, OUTPUTS, TRAINING, ClassNames, JsonFile
from danet_train.data.datasets.layouts import data_help, drawn_layouts


def _list_configs(asked: bool) -> None:
    if not asked:
        return
    from rich.console import Console

    from danet_train.cli.tables import config_table
    from danet_train.model.backbones.registry import BACKBONES

    console = Console(markup=False, emoji=False)
    console.print(config_table())
    console.print("model.backbone takes:")
    for backbone in BACKBONES:
        options = ", ".join(backbone.options.model_fields)
        console.print(f"  {backbone.name}: {backbone.help}; options: {options}")
    raise typer.Exit


def _list_layouts(asked: bool) -> None:
    if asked:
        typer.echo(drawn_layouts())
        raise typer.Exit


def _which_configuration() -> str:
    from danet_train.config.inheritance import packaged_names

    return (
        "nothing says which network is trained, and how; give --config with a YAML file or one of "
        f"{', '.join(packaged_names())} (--list-configs tells them apart; demo is for `danet synthesize`'s "
        "scenes, camvid_r18_small small enough for a CPU)"
    )


def train(
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            show_default=False,
            help="Settings over the configuration's, e.g. optimiser.lr=0.02 'augmentation.crop_hw=[512,512]' "
            "loss.ohem.threshold=0.7; =null for none. --show-config prints them all.",
        ),
    ] = None,
    *,
    data: Annotated[
        Path | None,
        typer.Option(help=data_help(), show_default=False, metavar="FOLDER", rich_help_panel=DATA),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The checkpoint to write, of the last step. Beside NAME.pt stand NAME.json, the record, "
            "and, where the run evaluates on its way, NAME.best.pt, the weights of the highest mIoU.",
            show_default=False,
            metavar="FILE",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="A packaged configuration's name, or a YAML file; --list-configs names them.",
            show_default=False,
            metavar="NAME",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    quantize: Annotated[
        Path | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Continue from this checkpoint under INT8's rounding; --config is the one that it was "
            "trained with. The activations' scales are learned and go with the checkpoint: `danet export` "
            "carries them into the bundle, `danet calibrate` uses them. pretrained:NAME is one that ships.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    train_split: Annotated[
        str, typer.Option(help="The split to learn from.", metavar="SPLIT", rich_help_panel=DATA)
    ] = "train",
    val_split: Annotated[
        str, typer.Option(help="The split to score on.", metavar="SPLIT", rich_help_panel=DATA)
    ] = "val",
    classes: ClassNames = None,
    bad_samples: Annotated[
        Literal["stop", "skip"] | None,
        typer.Option(
            help="At an image or label that is missing, damaged or inconsistent: stop, or skip it, with "
            "another sample in its place, and count. Instead of the configuration's.",
            rich_help_panel=DATA,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Number of steps, instead of the configuration's (with --quantize a tenth of them).",
            metavar="N",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps after which the validation split is scored, instead of the configuration's "
            "loop.evaluate_every, and keep the best weights.",
            metavar="N",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Random seed, instead of the configuration's.", metavar="N", rich_help_panel=TRAINING
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(help="Device, instead of the configuration's.", rich_help_panel=TRAINING),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads of torch on a CPU, instead of the configuration's.",
            metavar="N",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the training that was interrupted here, from NAME.state.pt; the result is that of "
            "a training that was not.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write curves and example pictures for TensorBoard into it.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    json_file: JsonFile = None,
    show_config: Annotated[
        bool,
        typer.Option(
            "--show-config",
            help="Print the settings of this training as YAML, and end.",
            rich_help_panel=LISTS,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the files of another run that are there.", rich_help_panel=OUTPUTS
        ),
    ] = False,
    list_configs: Annotated[
        bool,
        typer.Option(
            "--list-configs",
            callback=_list_configs,
            is_eager=True,
            help="Print the packaged configurations with the mIoU that their references publish, and the "
            "backbones with their options, and end.",
            rich_help_panel=LISTS,
        ),
    ] = False,
    list_layouts: Annotated[
        bool,
        typer.Option(
            "--list-layouts",
            callback=_list_layouts,
            is_eager=True,
            help="Print the layouts that --data may have, drawn, and end.",
            rich_help_panel=LISTS,
        ),
    ] = False,
) -> None:
    """Train a DANet and write a checkpoint with its scores, or fine-tune one for INT8.

    A first Ctrl-C, SIGTERM or SIGHUP finishes the step under way, saves the state beside the checkpoint and
    ends with exit code 1; another one, more than a second later, ends at once. The same command with --resume
    continues.

    On several GPUs or machines: torchrun --nproc-per-node 4 --no-python danet train ... (the batch is that of
    all of them; on several machines the checkpoint's folder is one that all see).

    Example: danet train --data CITYSCAPES --config cityscapes_r50_769_80k -o r50.pt
    """
    # Before torch is loaded: its threads must not spin while they wait. On two cores with other work, finding
    # the first scales of the demo's network took 60 s with spinning, 7 s without.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from rich.console import Console

    from danet_train.checkpoint import read_checkpoint
    from danet_train.cli.precision_here import precision_here
    from danet_train.cli.recipe_warnings import recipe_warnings
    from danet_train.cli.tables import score_table
    from danet_train.cli.training_display import TrainingDisplay
    from danet_train.data.datasets.check import require_sound_sample
    from danet_train.data.datasets.layouts import check_splits_differ, open_dataset
    from danet_train.data.datasets.survey import survey, survey_lines
    from danet_train.data.samples.sample import Splits
    from danet_train.errors import InterruptedTrainingError, UsageError
    from danet_train.files.atomic import write_whole
    from danet_train.training.config import as_yaml, read_config
    from danet_train.training.distributed import pick_device, world_from_environment
    from danet_train.training.fine_tune import EVALUATIONS, fine_tune_to_file, fine_tuning_config
    from danet_train.training.interruption import stopping_on_signals
    from danet_train.training.outputs import RunFiles, best_path, check_output, record_path
    from danet_train.training.run import train_to_file

    if config is None:
        raise UsageError(_which_configuration())
    if not show_config and (data is None or output is None):
        missing = " and ".join(["--data"] * (data is None) + ["--output"] * (output is None))
        raise UsageError(
            f"a training needs {missing}: danet train --data DATASET --config {config} -o checkpoint.pt "
            "(--show-config needs neither)"
        )
    world = world_from_environment()
    if world.is_main and output is not None and not show_config:
        check_output(output, overwrite=overwrite, resume=resume)
    if quantize is not None and (evaluate_every is not None or resume or tensorboard is not None):
        raise UsageError(
            "--evaluate-every, --resume and --tensorboard are for a training; with --quantize, which is "
            "short, leave them out"
        )
    if quantize is not None and world.size > 1:
        raise UsageError("--quantize trains in one process; start it without torchrun")
    source = None if quantize is None else read_checkpoint(quantize)
    options = {
        "steps": None if source else steps,
        "seed": seed,
        "device": device,
        "threads": threads,
        "bad_samples": bad_samples,
        "loop.evaluate_every": evaluate_every,
    }
    stated = [f"{key}={value}" for key, value in options.items() if value is not None]
    settings = read_config(config, *(assignments or ()), *stated)
    if source is not None:
        settings = fine_tuning_config(settings, source, steps=steps)
    if show_config or data is None or output is None:
        if world.is_main:
            typer.echo(as_yaml(settings), nl=False)
        return
    settings, other_precision = precision_here(settings, assignments or (), world)
    learn, score = (
        open_dataset(data, split, classes, bad_samples=settings.bad_samples)
        for split in (train_split, val_split)
    )
    check_splits_differ(train_split, learn, val_split, score)
    splits = Splits(learn, score)
    console = Console(quiet=not world.is_main, markup=False, emoji=False)
    what = "training" if source is None else "fine-tuning"
    processes = f" in {world.size} processes" if world.size > 1 else ""
    console.print(
        f"DANet-{settings.model.label}, {what}, {settings.steps} steps of {settings.batch_size} on "
        f"{pick_device(settings.device, world).type}{processes}: {len(learn)} samples to learn from, "
        f"{len(score)} to score"
    )
    if other_precision is not None:
        console.print(other_precision)
    for warning in recipe_warnings(settings, config, world, begins=not resume and source is None):
        typer.echo(f"danet: warning: {warning}", err=True)
    for split, dataset in ((train_split, learn), (val_split, score)):
        if dataset.skipped:
            count, first = len(dataset.skipped), dataset.skipped[0]
            console.print(f"{split}: {count} images are left out; the first: {first.why}")
        bad = require_sound_sample(dataset, split, settings.bad_samples)
        if bad is not None:
            console.print(bad)
        for line in survey_lines(dataset, split, survey(dataset, split, settings.bad_samples)):
            console.print(line)
    evaluations = EVALUATIONS
    if source is None:
        evaluations = -(-settings.steps // (settings.loop.evaluate_every or settings.steps))
    display = TrainingDisplay(
        console,
        what,
        steps=settings.steps,
        batch_size=settings.batch_size,
        scored=evaluations * -(-len(score) // world.size),
    )
    int8 = None
    if source is None:
        try:
            with display, stopping_on_signals() as asked_to_stop:
                matrix, seconds = train_to_file(
                    settings,
                    splits,
                    RunFiles(output, overwrite, resume, tensorboard),
                    world=world,
                    listeners=display.listeners(asked_to_stop),
                )
        except InterruptedTrainingError as interruption:
            if world.is_main:
                typer.echo(f"danet: {interruption}", err=True)
            raise typer.Exit(interruption.exit_code) from interruption
    else:
        with display:
            tuned = fine_tune_to_file(
                settings,
                source,
                splits,
                output,
                overwrite=overwrite,
                listeners=display.listeners(),
            )
        matrix, seconds = tuned.float32, tuned.seconds
        int8 = f"{tuned.int8_before.miou:.4f} before the fine-tuning, {tuned.int8.miou:.4f} after"
    console.print(score_table(matrix, score.classes))
    if int8 is not None:
        console.print(f"The table is in floating point. mIoU under INT8's rounding: {int8}.")
    if (left_out := display.summary()) is not None:
        console.print(left_out)
    console.print(f"{output}: trained in {seconds:.1f} s; record in {record_path(output)}")
    if json_file is not None:
        write_whole(json_file, record_path(output).read_bytes())
    if best_path(output).exists():
        console.print(f"{best_path(output)}: the weights of the best evaluation")
