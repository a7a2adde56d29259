"""``danet synthesize``: street scenes with exact labels, for a demonstration without any download."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from danet_train.errors import UsageError


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UsageError(f"--size must be HEIGHTxWIDTH in pixels, e.g. 128x256, not {text!r}")
    return int(match[1]), int(match[2])


def synthesize(
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    train: Annotated[int, typer.Option(help="Scenes of the training split.")] = 400,
    val: Annotated[int, typer.Option(help="Scenes of the validation split.")] = 80,
    video_frames: Annotated[int, typer.Option(help="Frames of a drive at 25 a second; 0 for none.")] = 100,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of every picture.")] = "128x256",
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a synthesised data set that is there.")
    ] = False,
) -> None:
    """Make a dataset of street scenes with exact labels, in the layout of Cityscapes, and a drive.

    Example: danet synthesize scenes --train 40 --val 8 --size 128x256
    """
    size_hw = _size(size)
    from itertools import count

    from rich.console import Console

    from danet_train.cli.progress import ShownProgress
    from danet_train.synthetic.dataset import Scenes, synthesize_dataset

    console = Console(markup=False, emoji=False, highlight=False)
    painted = count(1)
    with ShownProgress(console, "painting streets", train + val + video_frames) as progress:
        synthesize_dataset(
            out,
            Scenes(train, val, video_frames, size_hw, seed),
            overwrite=overwrite,
            advance=lambda: progress(next(painted)),
        )
    typer.echo(
        f"{out}: {train} training scenes, {val} validation scenes, {video_frames} video frames, {size}"
    )
