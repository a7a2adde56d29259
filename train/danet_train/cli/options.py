"""Options that several commands share, and the groups in which a long help shows its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from danet_train.data.datasets.layouts import classes_help

DATA: Final = "The data"
TRAINING: Final = "The training"
SCORING: Final = "How it is scored"
CLASSES: Final = "The classes"
SPLITS: Final = "The splits"
ATTENTION: Final = "What is explained"
OUTPUTS: Final = "Outputs"
LISTS: Final = "Print, and end"

JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the result as JSON to this file; -: to standard output, and all else to standard error.",
        rich_help_panel=OUTPUTS,
    ),
]
"""The option ``--json``; ``-`` is taken care of by the command line of the runtime."""

ClassNames = Annotated[
    str | None, typer.Option("--classes", metavar="NAME", help=classes_help(), rich_help_panel=DATA)
]
"""The option ``--classes`` of a command that reads a data set."""
