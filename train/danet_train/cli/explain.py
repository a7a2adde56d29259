"""``danet explain``: one picture of what DANet's two attentions do on an image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from danet_train.cli.options import ATTENTION, DATA, OUTPUTS, JsonFile
from danet_train.data.datasets.layouts import classes_help
from danet_train.errors import UsageError
from danet_train.pretrained.registry import checkpoint_help


def explain(
    checkpoint: Annotated[
        Path,
        typer.Argument(help=checkpoint_help("Of this project, of mmsegmentation or of DANet's authors.")),
    ],
    image: Annotated[Path, typer.Argument(help="A PNG or JPEG.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The picture to write, a PNG.", metavar="FILE", rich_help_panel=OUTPUTS
        ),
    ],
    label: Annotated[
        Path | None,
        typer.Option(
            help="The image's label PNG, to show the ground truth too.", metavar="FILE", rich_help_panel=DATA
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help=f"{classes_help()} Where the checkpoint names no classes.",
            metavar="NAME",
            rich_help_panel=DATA,
        ),
    ] = None,
    pixel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y",
            help="Show what this pixel attends to; may be repeated. Unless given: the innermost pixel of "
            "each of the four classes that fill most of the result.",
            rich_help_panel=ATTENTION,
        ),
    ] = None,
    channel: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Show this channel before and after the channel attention; may be repeated. Unless given: "
            "the two channels that separate a class best from the rest of the image, each another class.",
            rich_help_panel=ATTENTION,
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="HxW",
            help="The size of the network's input: full is the image's own size.",
            rich_help_panel=ATTENTION,
        ),
    ] = "full",
    json_file: JsonFile = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="auto takes CUDA where there is one.", rich_help_panel=ATTENTION),
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.", rich_help_panel=OUTPUTS)
    ] = False,
) -> None:
    """Draw what chosen pixels attend to (PAM), channels before and after (CAM), and the segmentation.

    Example: danet explain checkpoint.pt street.png -o attention.png --pixel 120,80
    """
    pixels, size_hw = [_pixel(text) for text in pixel or []], _size(size)
    if output.suffix.lower() != ".png":
        raise UsageError(f"the picture is a PNG; name it e.g. {output.with_suffix('.png')}")
    import json

    from danet_train.checkpoint import read_checkpoint
    from danet_train.classes import find_classes, numbered_classes
    from danet_train.cli.memory import telling_of_memory
    from danet_train.data.samples.sample import fitted_label, read_image, read_label
    from danet_train.evaluation.scoring import check_classes_agree
    from danet_train.explain.explanation import explain_image
    from danet_train.explain.picture import draw
    from danet_train.files.atomic import check_outputs, replacing
    from danet_train.training.distributed import pick_device

    outputs = [path for path in (output, json_file) if path is not None]
    inputs = [path for path in (checkpoint, image, label) if path is not None]
    check_outputs(outputs, inputs, overwrite=overwrite)
    loaded = read_checkpoint(checkpoint, say=typer.echo)
    model = loaded.model
    named = loaded.classes
    if classes is not None:
        named = find_classes(classes)
        check_classes_agree(loaded.classes, model.config.num_classes, named)
    if named is None and label is not None:
        raise UsageError(f"{checkpoint} does not name its classes; say what --label holds with --classes")
    table = named or numbered_classes(model.config.num_classes)
    picture = read_image(image)
    truth = None
    if label is not None:
        values = table.decode(read_label(label), str(label))
        truth = fitted_label(values, image, (picture.shape[0], picture.shape[1]), label)
    with telling_of_memory("--size"):
        explanation = explain_image(
            model.to(pick_device(device)),
            picture,
            loaded.normalisation,
            pixels=pixels,
            channels=channel or [],
            size_hw=size_hw,
        )
    draw(explanation, picture, table, truth, output)
    for attention in explanation.pixels:
        x, y, weight = attention.most_attended[0]
        typer.echo(
            f"pixel {attention.x},{attention.y} ({table.names[attention.train_id]}) attends most to "
            f"{x},{y}, with {weight * attention.weights.size:.1f} times an even share; "
            f"entropy {attention.entropy:.2f} nats"
        )
    for maps in explanation.channels:
        train_id = maps.channel.train_id
        what = (
            ""
            if train_id is None
            else f" separates {table.names[train_id]} best, by {maps.channel.separation:.1f}"
        )
        typer.echo(f"channel {maps.channel.number}{what}")
    for note in explanation.notes:
        typer.echo(note)
    if json_file is not None:
        record = {
            "image": str(image),
            "checkpoint_sha256": loaded.sha256,
            "classes": list(table.names),
            **explanation.plain(),
        }
        with replacing(json_file) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{output}: the network saw {explanation.input_hw[0]}x{explanation.input_hw[1]}")


def _pixel(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+),(\d+)", text)
    if match is None:
        raise UsageError(f"--pixel must be X,Y in the image, e.g. 1020,610, not {text!r}")
    return int(match[1]), int(match[2])


def _size(text: str) -> tuple[int, int] | None:
    if text == "full":
        return None
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UsageError(f"--size must be full or HEIGHTxWIDTH in pixels, e.g. 512x1024, not {text!r}")
    return int(match[1]), int(match[2])
