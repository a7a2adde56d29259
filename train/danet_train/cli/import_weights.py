"""``danet import``: weights of other code become a checkpoint, or a checkpoint mmsegmentation's file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from danet_train.data.datasets.layouts import classes_help
from danet_train.errors import UsageError
from danet_train.pretrained.registry import checkpoint_help


def _dilations(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text) is None:
        raise UsageError(
            f"--multi-grid must be the dilations of layer4's blocks, e.g. 4,8,16 or 2,4,4, not {text!r}"
        )
    return tuple(int(dilation) for dilation in text.split(","))


def import_weights(
    weights: Annotated[
        Path,
        typer.Argument(
            help=checkpoint_help(
                "A DANet of mmsegmentation (0.x, 1.x), of its authors (2018, 2020) or of this project."
            )
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    classes: Annotated[
        str | None,
        typer.Option(help=f"{classes_help()} Instead of the classes in the file."),
    ] = None,
    align_corners: Annotated[
        bool | None,
        typer.Option(
            "--align-corners/--no-align-corners",
            help="How logits are upsampled. Unless given: as the file says, aligned for the authors' files, "
            "as its own configuration says for mmsegmentation's, else by the input's size; it is printed.",
        ),
    ] = None,
    multi_grid: Annotated[
        str | None,
        typer.Option(
            metavar="D,D,D",
            help="Dilations of layer4's blocks, e.g. 4,8,16; no tensor shows them. Unless given: as the file "
            "says, or as its family is trained; then it is printed.",
        ),
    ] = None,
    to: Annotated[
        Literal["checkpoint", "mmseg"],
        typer.Option(help="What to write: this project's checkpoint, or a file for mmsegmentation."),
    ] = "checkpoint",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there; never a device.")
    ] = False,
) -> None:
    """Turn published weights into a checkpoint, every tensor accounted for, or a checkpoint into theirs.

    Example: danet import danet_r50-d8.pth -o r50.pt
    """
    grid = _dilations(multi_grid)
    from danet_train.checkpoint import read_checkpoint, save_checkpoint
    from danet_train.classes import find_classes
    from danet_train.files.atomic import check_file_target
    from danet_train.weights.mmseg import mmseg_settings, save_mmseg

    check_file_target(output)
    if os.path.lexists(output) and not overwrite:
        raise UsageError(f"{output} exists already; give another path, or --overwrite to replace it")
    table = None if classes is None else find_classes(classes)
    notes: list[str] = []
    loaded = read_checkpoint(
        weights,
        multi_grid=grid,
        align_corners=align_corners,
        knows_classes=table is not None,
        say=notes.append,
    )
    model, named = loaded.model, table or loaded.classes
    if named is not None and len(named) != model.config.num_classes:
        raise UsageError(
            f"{weights} has {model.config.num_classes} classes, but --classes {classes} names {len(named)}; "
            "give the table that it was trained with"
        )
    for note in notes:
        typer.echo(note)
    if to == "mmseg":
        save_mmseg(output, model, classes=named, normalisation=loaded.normalisation)
    else:
        origin = {"sha256": loaded.sha256, "taken_for": loaded.family, "notes": notes}
        save_checkpoint(
            output,
            model,
            classes=named,
            normalisation=loaded.normalisation,
            metadata={**loaded.metadata, "imported": origin},
            scales=loaded.scales,
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    known = "not named; --classes names them" if named is None else ", ".join((*named.names[:3], "..."))
    typer.echo(
        f"{output}: DANet-{model.config.label}, {parameters:,} parameters, "
        f"{model.config.num_classes} classes ({known}), from {loaded.family}"
    )
    if to == "mmseg":
        settings = ", ".join(f"{key}={value!r}" for key, value in mmseg_settings(model).items())
        typer.echo(f"mmsegmentation's configuration must say: {settings}")
        if loaded.scales is not None:
            typer.echo("left out: the scales of activations for INT8, which mmsegmentation does not know")
