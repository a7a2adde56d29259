"""``danet data``: make a data set of one's own pictures and masks, and check any."""

from __future__ import annotations

import typer

from danet_train.cli.data.check import check
from danet_train.cli.data.init import init

data = typer.Typer(
    name="data",
    help="Make a dataset of your own pictures and masks, and check any dataset.",
    no_args_is_help=True,
)
data.command("init")(init)
data.command("check")(check)


@data.callback()
def _group() -> None:
    """Make a dataset of your own pictures and masks, and check any dataset."""
