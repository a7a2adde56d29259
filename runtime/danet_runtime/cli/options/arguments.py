"""Arguments that several commands share, and reading them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from danet_runtime.errors import UsageError

OUTPUTS: Final = "Outputs"
MODEL: Final = "The model, and what runs it"
FRAMES: Final = "The frames"
GATE: Final = "The gate"
PACE: Final = "Frames and time"
OVERLAYS: Final = "Overlays and masks"
RARE: Final = "Rarely needed"
NAMED_ALONE: Final = (OVERLAYS, RARE)
"""Groups whose options the help of a long command names, and ``--help-all`` explains."""

TrustedKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--trusted-key",
        metavar="KEY",
        help="Public Ed25519 key in PEM; accept the bundle only signed by it. May be given again.",
        rich_help_panel=MODEL,
    ),
]
"""The option ``--trusted-key``; nothing, or an empty list, where it is not given."""

JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the result as JSON to this file; -: to standard output, and all else to standard error.",
        rich_help_panel=OUTPUTS,
    ),
]
"""The option ``--json``; ``-`` is taken care of by the class of every command."""

EngineDir = Annotated[
    Path | None,
    typer.Option(
        "--engine-dir",
        metavar="FOLDER",
        help="Where engines are kept; the user's cache where it is not given.",
        rich_help_panel=RARE,
    ),
]
"""The option ``--engine-dir``."""

PASSPHRASE_VARIABLE = "DANET_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
"""Environment variable with the passphrase of a private key; never an option, which others could read."""


def require_there(path: Path, option: str) -> None:
    """Make sure that a path of the command line leads to something; a mistyped one is wrong usage.

    Raises:
        UsageError: There is nothing.
    """
    if not path.exists():
        raise UsageError(f"{option}: {path} does not exist; give the path of what is to be read")


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Read ``HxW``.

    Args:
        text: For example ``512x1024``.
        option: The option that gave it, for the message.

    Returns:
        Height and width.

    Raises:
        UsageError: It is anything else.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if not match:
        raise UsageError(f"{option} must be HEIGHTxWIDTH in pixels, for example 512x1024 (got {text!r})")
    return int(match.group(1)), int(match.group(2))
