"""The options that every command has: how much it says, and where its JSON goes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from danet_runtime.cli.console.json_output import json_to_stdout
from danet_runtime.cli.console.loudness import silenced
from danet_runtime.cli.console.printing import tell
from danet_runtime.cli.options.numbers import SoundCommand

JSON_OPTION: Final = "--json"
STDOUT: Final = Path("-")
_QUIET: Final = "danet.quiet"
EVERYWHERE: Final = "At every command"
"""Title of the panel in the help."""


def log_more(verbose: bool) -> None:
    """Let the libraries log what they do, where that is asked for."""
    if verbose:
        logging.getLogger().setLevel(logging.INFO)


def note_quiet(ctx: typer.Context, quiet: bool) -> None:
    """Note that nothing but warnings and errors is to be said, where that is asked for."""
    if quiet:
        ctx.meta[_QUIET] = True


def show_bare(parameters: Sequence[Any]) -> None:
    """Let the help show flags without a type: they take no value, and ``<bool>`` reads as if they did."""
    for one in parameters:
        if getattr(one, "is_flag", False) and one.metavar is None:
            one.metavar = ""


def _everywhere(
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=log_more,
            help="Log what the libraries do.",
            rich_help_panel=EVERYWHERE,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=note_quiet,
            help="Say nothing but warnings and errors.",
            rich_help_panel=EVERYWHERE,
        ),
    ] = False,
) -> None:
    """Hold the options for typer to read."""


@cache
def _common_options() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_everywhere)
    found: list[Any] = [one for one in typer.main.get_command(app).params if one.name in ("verbose", "quiet")]
    for option in found:
        option.expose_value = False
    return found


class CommonCommand(SoundCommand):
    """A command with ``-v`` and ``--quiet``, whose ``--json`` may be ``-``.

    With ``--json -`` standard output holds the JSON alone, and all else goes to standard error.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(*arguments, **settings)
        self.params += _common_options()

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's copy of click's
        """The option ``--help``."""
        option: Any = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = EVERYWHERE
        return option

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's copy of click's
        """Read the arguments; a ``--json`` of version 0.1 without a file is told of, and means ``-``."""
        has_json = any(JSON_OPTION in parameter.opts for parameter in self.params)
        return super().parse_args(ctx, _with_json_target(args) if has_json else args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's copy of click's
        """Run the command."""
        name = next((one.name for one in self.params if JSON_OPTION in one.opts), None)
        with ExitStack() as stack:
            if name is not None and ctx.params.get(name) == STDOUT:
                ctx.params[name] = stack.enter_context(json_to_stdout(str(ctx.info_name)))
            stack.enter_context(silenced(bool(ctx.meta.get(_QUIET))))
            return super().invoke(ctx)


def _with_json_target(arguments: Sequence[str]) -> list[str]:
    given = list(arguments)
    end = given.index("--") if "--" in given else len(given)
    for place, argument in enumerate(given[:end]):
        following = given[place + 1 : end]
        if argument == JSON_OPTION and (not following or (following[0][:1] == "-" and following[0] != "-")):
            tell("danet: --json takes a file now, or - for standard output", err=True)
            return [*given[: place + 1], str(STDOUT), *given[place + 1 :]]
    return given
