"""``danet eval``: the scores of a checkpoint on a dataset."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from danet_train.cli.options import DATA, OUTPUTS, SCORING, ClassNames, JsonFile
from danet_train.data.datasets.layouts import data_help
from danet_train.errors import UsageError
from danet_train.pretrained.registry import checkpoint_help

if TYPE_CHECKING:
    from danet_train.config.sections import EvaluationConfig
    from danet_train.evaluation.scoring import Scored

_NAMED = 5
"""Number of skipped samples that are named on the terminal; the JSON names all."""


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help=checkpoint_help("A checkpoint of this project, of mmsegmentation or of DANet's authors.")
        ),
    ],
    data: Annotated[Path, typer.Option(help=data_help(), metavar="FOLDER", rich_help_panel=DATA)],
    split: Annotated[
        str, typer.Option(help="The split to score on.", metavar="SPLIT", rich_help_panel=DATA)
    ] = "val",
    classes: ClassNames = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="Score as this configuration's evaluation section says (a packaged name or a YAML file); "
            "the options below replace parts of it. Unless given: the whole image, once.",
            metavar="NAME",
            rich_help_panel=SCORING,
        ),
    ] = None,
    mode: Annotated[
        Literal["whole", "slide"] | None,
        typer.Option(help="The image at once, or window by window.", rich_help_panel=SCORING),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Size of a window, e.g. 769 or 512x1024, with --mode slide.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    stride: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Distance from window to window, e.g. 513; two thirds of the window unless given.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="S,S,...",
            help="Test-time augmentation: factors on the image's size, e.g. 0.5,0.75,1,1.25,1.5,1.75.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Test-time augmentation: predict the mirror image too.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Resize each image within this size first, e.g. 512x2048 for ADE20K.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    protocol: Annotated[
        Literal["mmsegmentation", "authors"] | None,
        typer.Option(
            help="Whose way of resizing, padding and averaging: mmsegmentation averages logits of windows "
            "inside the image and softmax over augmentations, the authors exp(logits) of windows padded "
            "with black.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    windows_at_once: Annotated[
        int | None, typer.Option(help="Windows that go in one batch.", metavar="N", rich_help_panel=SCORING)
    ] = None,
    json_file: JsonFile = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a PNG a sample with the dataset's label values (Cityscapes: labelIds, as "
            "cityscapesScripts reads them).",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace scores and predictions of before that are there.",
            rich_help_panel=OUTPUTS,
        ),
    ] = False,
    bad_samples: Annotated[
        Literal["stop", "skip"],
        typer.Option(
            help="At a sample that cannot be read: stop, or leave it out, named and counted.",
            rich_help_panel=DATA,
        ),
    ] = "stop",
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="auto takes CUDA where there is one.", rich_help_panel=SCORING),
    ] = "auto",
) -> None:
    """Print per-class IoU, mIoU and accuracies of a checkpoint, scored by either reference's protocol.

    Example: danet eval r50.pt --data CITYSCAPES --split val --json scores.json
    """
    chosen = {
        "mode": mode,
        "window_hw": _pair("--window", window),
        "stride_hw": _pair("--stride", stride),
        "scales": _numbers(scales),
        "flip": flip,
        "base_hw": _pair("--base", base),
        "protocol": protocol,
        "windows_at_once": windows_at_once,
    }
    import json
    from itertools import count

    from rich.console import Console

    from danet_train.checkpoint import read_checkpoint
    from danet_train.cli.memory import telling_of_memory
    from danet_train.cli.progress import ShownProgress
    from danet_train.cli.tables import score_table
    from danet_train.data.datasets.layouts import open_dataset
    from danet_train.data.datasets.survey import survey, survey_lines
    from danet_train.evaluation.predictions import prediction_folder
    from danet_train.evaluation.record import Scoring, evaluation_record
    from danet_train.evaluation.scoring import check_classes_agree, score
    from danet_train.files.atomic import check_outputs, replacing
    from danet_train.training.distributed import pick_device

    settings = _settings(config, {key: value for key, value in chosen.items() if value is not None})
    if json_file is not None:
        check_outputs([json_file], [checkpoint], overwrite=overwrite)
    loaded = read_checkpoint(checkpoint)
    dataset = open_dataset(data, split, classes, bad_samples=bad_samples)
    check_classes_agree(loaded.classes, loaded.model.config.num_classes, dataset.classes)
    target = pick_device(device)
    for line in survey_lines(dataset, split, survey(dataset, split, bad_samples)):
        typer.echo(line)
    console = Console(markup=False, emoji=False)
    writing = (
        nullcontext(lambda name, prediction: None)
        if predictions is None
        else prediction_folder(predictions, dataset.classes, overwrite=overwrite)
    )
    with (
        writing as keep,
        telling_of_memory("--window and --windows-at-once, or --base"),
        ShownProgress(console, "scoring", len(dataset)) as progress,
    ):
        scored_samples = count(1)
        scored = score(
            loaded.model.to(target),
            dataset,
            loaded.normalisation,
            settings,
            faults=bad_samples,
            keep=keep,
            advance=lambda: progress(next(scored_samples)),
        )
    console.print(score_table(scored.matrix, dataset.classes))
    for line in _summary(scored, settings):
        typer.echo(line)
    if json_file is not None:
        record = evaluation_record(
            Scoring(checkpoint, data, split), loaded, dataset, settings, scored, str(target)
        )
        with replacing(json_file) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if predictions is not None:
        typer.echo(f"{predictions}: {scored.samples} predictions")


def _summary(scored: Scored, settings: EvaluationConfig) -> list[str]:
    """Return the result in words, marked where samples are missing from it."""
    way = "whole image"
    if settings.mode == "slide":
        sizes = ["x".join(map(str, size)) for size in (settings.window_hw, settings.stride)]
        way = f"windows of {sizes[0]}, stride {sizes[1]}"
    if settings.base_hw:
        way += f", resized within {'x'.join(map(str, settings.base_hw))}"
    way += (
        f", scales {', '.join(f'{scale:g}' for scale in settings.scales)}" if settings.scales != (1,) else ""
    )
    way += ", with mirror images" if settings.flip else ""
    way += ", the authors' protocol" if settings.protocol == "authors" else ""
    matrix, total = scored.matrix, scored.samples + len(scored.skipped)
    count = f"{scored.samples} samples"
    if scored.skipped:
        count = f"ONLY {scored.samples} of {total} samples: {len(scored.skipped)} skipped"
    lines = [
        f"mIoU {100 * matrix.miou:.2f}, frequency-weighted IoU {100 * matrix.frequency_weighted_iou:.2f}, "
        f"over {count}; {way}"
    ]
    lines += [f"skipped {skipped.name}: {skipped.why}" for skipped in scored.skipped[:_NAMED]]
    more = len(scored.skipped) - _NAMED
    return [*lines, f"and {more} more; --json names all"] if more > 0 else lines


def _settings(config: str | None, chosen: dict[str, Any]) -> EvaluationConfig:
    from pydantic import ValidationError

    from danet_train.config.inheritance import explain
    from danet_train.config.sections import EvaluationConfig
    from danet_train.training.config import read_config

    base = {} if config is None else read_config(config).evaluation.model_dump()
    if "window_hw" in chosen and "stride_hw" not in chosen:
        base.pop("stride_hw", None)  # two thirds of the new window, not another window's stride
    try:
        settings = EvaluationConfig.model_validate({**base, **chosen})
    except ValidationError as error:
        raise explain("the evaluation", error) from error
    if settings.mode != "slide" and {"window_hw", "stride_hw"} & set(chosen):
        raise UsageError("--window and --stride need --mode slide; the whole image has no windows")
    return settings


def _pair(option: str, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if match is None or (option == "--base" and match[2] is None):
        example = "512x2048" if option == "--base" else "769 or 512x1024"
        raise UsageError(f"{option} must be a size in pixels, e.g. {example}, not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", part) for part in parts):
        raise UsageError(f"--scales must be numbers such as 0.5,0.75,1, not {text!r}")
    return tuple(float(part) for part in parts)
