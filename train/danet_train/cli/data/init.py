"""``danet data init``: pictures and masks as they come become a data set that ``danet train`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from danet_train.cli.options import CLASSES, DATA, OUTPUTS, SPLITS
from danet_train.errors import DataError, UsageError

if TYPE_CHECKING:
    from danet_train.data.own.dataset import Census
    from danet_train.data.own.discovery import Discovery

_NAMED = 20
"""Number of bad files that are named on the terminal."""


def init(
    folder: Annotated[Path, typer.Argument(help="The folder of your pictures and masks; it is only read.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The dataset to make, a new folder.",
            metavar="FOLDER",
            rich_help_panel=OUTPUTS,
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the pictures, where the names in FOLDER do not tell; with --masks.",
            metavar="FOLDER",
            rich_help_panel=DATA,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="The folder of the masks; with --images.", metavar="FOLDER", rich_help_panel=DATA),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="The classes of the masks, by color or value: a classes.yaml, or a table's name such as "
            "cityscapes. Unless given they are proposed from what the masks hold.",
            metavar="NAME",
            rich_help_panel=CLASSES,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLOR=NAME",
            help="Name a class by its color or value in the masks, e.g. '#804080=road' or 7=road; may be "
            "repeated.",
            rich_help_panel=CLASSES,
        ),
    ] = None,
    void: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLOR",
            help="A color or value in the masks that is no class, or none for no such; may be repeated. "
            "Unless given: 255, what a list of classes calls void, and black where it is rare.",
            rich_help_panel=CLASSES,
        ),
    ] = None,
    split_by: Annotated[
        Literal["auto", "folders", "sequences", "random"],
        typer.Option(
            help="How train and val are divided: as folders say, by sequence, or frame by frame; auto takes "
            "the first of them that is there.",
            rich_help_panel=SPLITS,
        ),
    ] = "auto",
    val_share: Annotated[
        float,
        typer.Option(
            "--val",
            min=0.01,
            max=0.9,
            help="Share of the pictures to score on.",
            metavar="SHARE",
            rich_help_panel=SPLITS,
        ),
    ] = 0.2,
    seed: Annotated[
        int,
        typer.Option(min=0, help="The same seed gives the same splits.", metavar="N", rich_help_panel=SPLITS),
    ] = 0,
    bad_samples: Annotated[
        Literal["stop", "skip"],
        typer.Option(
            help="At files that cannot be taken: list all and stop, or leave them out.", rich_help_panel=DATA
        ),
    ] = "stop",
    hard_link: Annotated[
        bool,
        typer.Option(
            "--hard-link",
            help="Link the pictures instead of copying them: no second copy on the disk, and a picture "
            "that is changed in one place is changed in both.",
            rich_help_panel=OUTPUTS,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a dataset that this command made before.", rich_help_panel=OUTPUTS
        ),
    ] = False,
) -> None:
    """Make a dataset of a folder of pictures and masks, with classes and splits proposed.

    Masks are grey, palette or RGB images in folders such as masks, labels or annotations, or beside the
    pictures with names such as 001_mask.png.

    Example: danet data init photos -o dataset

    Example: danet data init photos -o dataset --name '#804080=road' --void '#000000'
    """
    from rich.console import Console

    from danet_train.classes import find_classes
    from danet_train.cli.data.display import progress, proposal_table, splits_table
    from danet_train.data.own.dataset import (
        Target,
        check_target,
        classes_of,
        propose_for,
        take_census,
        write_dataset,
    )
    from danet_train.data.own.discovery import find_pairs
    from danet_train.data.own.names import listed_names
    from danet_train.data.own.proposal import Wishes
    from danet_train.data.own.splits import Frame, divide

    wishes = Wishes(
        None if classes is None else find_classes(classes),
        dict(_assignment(text) for text in name or ()),
        None if not void else frozenset(void) - {"none"},
    )
    if void and "none" in void and len(void) > 1:
        raise UsageError("--void none stands alone; leave the others out, or none")
    if wishes.table is not None and wishes.names:
        raise UsageError("--name is for proposed classes; with --classes, write the names into that file")
    target = Target(output, folder, hard_link, overwrite)
    found = find_pairs(folder, images, masks)
    check_target(target)
    console = Console(markup=False, emoji=False, highlight=False)
    for line in [*_found_lines(found), *_layout_lines(folder)]:
        console.print(line)
    with progress(console, "reading", len(found.pairs)) as advance:
        census = take_census(found.pairs, advance)
    _tell_bad(census, len(found.pairs), bad_samples)
    proposal = propose_for(census, wishes, listed_names(folder))
    frames = [
        Frame(counted.pair.name, counted.pair.split, classes_of(counted, proposal))
        for counted in census.counted
    ]
    division = divide(frames, split_by, val_share, seed)
    for note in proposal.notes:
        console.print(f"note: {note}")
    console.print(proposal_table(proposal))
    pairs = [counted.pair for counted in census.counted]
    with progress(console, "writing", len(pairs)) as advance:
        write_dataset(target, pairs, proposal, division, advance)
    console.print(splits_table(frames, division, proposal))
    console.print(
        f"{output}: {len(pairs)} pictures, {len(proposal.table)} classes. Look at {output / 'classes.yaml'}; "
        "names and colors may be changed there. Next:"
    )
    checkpoint = output.with_suffix(".pt")
    typer.echo(f"  danet data check {output}")
    typer.echo(f"  danet train --data {output} --config camvid_r18_small -o {checkpoint}")


def _assignment(text: str) -> tuple[str, str]:
    code, _, name = text.partition("=")
    if not code.strip() or not name.strip():
        raise UsageError(f"--name must be COLOR=NAME, e.g. '#804080=road' or 7=road, not {text!r}")
    return code.strip(), name.strip()


def _found_lines(found: Discovery) -> list[str]:
    from danet_train.data.datasets.pairing import summed

    lines = [f"{len(found.pairs)} pictures with a mask", *(f"note: {note}" for note in found.notes)]
    lines += [f"left out {summed(files)}" for files in (found.unpaired, found.left_out) if files]
    return lines


def _layout_lines(folder: Path) -> list[str]:
    from danet_train.data.datasets.layouts import LAYOUTS
    from danet_train.data.datasets.plain_folder import PlainFolder

    return [
        f"note: {folder} lies as {layout.name} does; where its classes are those too, danet train --data "
        f"{folder} reads it as it is"
        for layout in LAYOUTS
        if not isinstance(layout, PlainFolder) and layout.locate(folder) is not None
    ]


def _tell_bad(census: Census, count: int, bad_samples: str) -> None:
    """Name the files that cannot be taken.

    Raises:
        DataError: There are any, under ``stop``.
    """
    for bad in census.bad[:_NAMED]:
        typer.echo(f"bad: {bad.why}", err=True)
    if len(census.bad) > _NAMED:
        typer.echo(f"bad: and {len(census.bad) - _NAMED} more", err=True)
    if census.bad and bad_samples == "stop":
        raise DataError(
            f"{len(census.bad)} of {count} pairs cannot be taken, for the reasons above; mend them, or leave "
            "them out with --bad-samples skip; nothing is written"
        )
