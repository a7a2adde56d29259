"""``danet data check``: everything that is wrong with a data set, and what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danet_train.cli.options import ClassNames, JsonFile
from danet_train.data.datasets.layouts import data_help

if TYPE_CHECKING:
    from danet_train.data.datasets.check import SplitCheck

_NAMED = 50
"""Number of bad files that are named on the terminal; the JSON names all."""


def check(
    folder: Annotated[Path, typer.Argument(help=data_help())],
    split: Annotated[
        list[str] | None, typer.Option(help="A split to check; may be repeated. Unless given: all.")
    ] = None,
    classes: ClassNames = None,
    json_file: JsonFile = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace findings of before that are there.")
    ] = False,
) -> None:
    """Read every picture and label of a dataset; name all bad files, and count the classes of each split.

    Bad are: pictures without labels, files that are damaged or no pictures, a picture and labels of two
    sizes, label values outside the class table, labels of no class or of one alone. Exit code 1 where
    something is bad.

    Example: danet data check dataset --json findings.json
    """
    import json

    from rich.console import Console

    from danet_train.cli.data.display import histogram_tables, progress, summary_table
    from danet_train.data.datasets.check import check_pairs, open_split, shared_pictures
    from danet_train.data.datasets.layouts import find_layout
    from danet_train.files.atomic import check_outputs, replacing

    if json_file is not None:
        check_outputs([json_file], [], overwrite=overwrite)
    console = Console(markup=False, emoji=False, highlight=False)
    layout, root = find_layout(folder)
    checks = [open_split(layout, root, name, classes) for name in split or layout.splits(root)]
    total = sum(len(one.dataset) for one in checks if one.dataset is not None)
    with progress(console, "reading", total) as advance:
        for one in checks:
            check_pairs(one, advance=advance)
    shared = shared_pictures(checks)
    console.print(f"{folder}: {layout.name}, {total} pairs")
    console.print(summary_table(checks))
    for table in histogram_tables(checks):
        console.print(table)
    for line in [*_notes(checks), *shared]:
        console.print(f"note: {line}")
    _tell_bad(checks)
    record = _record(folder, layout.name, checks, shared)
    if json_file is not None:
        with replacing(json_file) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if not record["is_sound"]:
        raise typer.Exit(1)
    console.print("nothing bad was found")


def _notes(checks: list[SplitCheck]) -> list[str]:
    from danet_train.data.datasets.pairing import summed

    lines = []
    for one in checks:
        lines += [f"{one.split}: {note}" for note in one.notes]
        if one.dataset is not None and one.dataset.left_out:
            lines.append(f"{one.split}: left out {summed(one.dataset.left_out)}")
        if one.absent:
            lines.append(f"{one.split}: no label holds {', '.join(one.absent)}: neither learned nor scored")
        if one.turns:
            lines.append(
                f"{one.split}: EXIF turns {one.turns.total()} pictures; the labels of {one.turns['stored']} "
                f"are turned with them, the others count as upright"
            )
    return lines


def _tell_bad(checks: list[SplitCheck]) -> None:
    bad = [(one.split, entry) for one in checks for entry in one.bad]
    for name, entry in bad[:_NAMED]:
        typer.echo(f"bad: {name}: {entry.why.removeprefix(f'{name}: ')}")
    if len(bad) > _NAMED:
        typer.echo(f"bad: and {len(bad) - _NAMED} more; --json FILE names all")
    if bad:
        typer.echo(
            f"{len(bad)} bad; mend or remove them, or let danet train pass over them: --bad-samples skip"
        )


def _record(folder: Path, layout: str, checks: list[SplitCheck], shared: list[str]) -> dict[str, Any]:
    """Return the findings for JSON; sizes are height x width."""
    splits = {}
    for one in checks:
        names = () if one.dataset is None else one.dataset.classes.names
        splits[one.split] = {
            "pairs": 0 if one.dataset is None else len(one.dataset),
            "bad": [{"name": entry.name, "why": entry.why} for entry in one.bad],
            "left_out": [
                {"name": entry.name, "why": entry.why}
                for entry in (() if one.dataset is None else one.dataset.left_out)
            ],
            "sizes": {f"{height}x{width}": count for (height, width), count in one.sizes.most_common()},
            "turned_by_exif": dict(one.turns),
            "pixels": dict(zip(names, one.pixels.tolist(), strict=True)),
            "pictures": dict(zip(names, one.pictures.tolist(), strict=True)),
            "ignored_pixels": one.ignored,
            "classes_that_never_occur": one.absent,
            "notes": one.notes,
        }
    return {
        "folder": str(folder),
        "layout": layout,
        "is_sound": not any(one.bad for one in checks),
        "pictures_in_two_splits": shared,
        "splits": splits,
    }
