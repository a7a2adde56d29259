"""The ``danet`` command: its subcommands come from whatever distributions are installed.

Each distribution registers functions, or a ``typer.Typer`` with several, in the entry-point group
``danet.commands``. A command's module is loaded when the command is asked for, and imports nothing heavy, so
that ``danet --help``, which asks for all of them, answers at once; one that fails to load is listed as broken
and breaks no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from danet_runtime.cli.console.printing import tell
from danet_runtime.cli.options.everywhere import log_more, note_quiet, show_bare
from danet_runtime.cli.options.registered import DanetCommand
from danet_runtime.visible_text import VisibleFormatter

COMMAND_GROUP = "danet.commands"

_ORDER = (
    *("synthesize", "data", "train", "import", "eval", "explain", "export", "calibrate"),
    *("build", "run", "replay", "profile", "compare", "keygen", "sign", "verify", "doctor"),
)

BROUGHT_BY = {
    **dict.fromkeys(("synthesize", "data", "train", "import", "eval", "explain"), "danet-train"),
    "export": "danet-export",
    "calibrate": "danet-calibration",
}
"""Commands that are no part of the runtime, and the distributions that bring them."""


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"danet {version('danet-runtime')}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the libraries do.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version, and end."),
    ] = False,
) -> None:
    """DANet Edge: from PyTorch training to a real-time segmentation stream on a vehicle's GPU.

    -v and --quiet may stand before a command or behind it, --json FILE (or -) at each that reports.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log_more(verbose)
    note_quiet(ctx, quiet)


def _broken(entry: EntryPoint, reason: Exception) -> Callable[[], None]:
    cause = f"{type(reason).__name__}: {reason}"

    def command() -> None:
        tell(f"danet {entry.name}: {entry.value} failed to load: {cause}", err=True)
        raise typer.Exit(1)

    command.__doc__ = f"(broken: {cause})"
    return command


def _position(entry: EntryPoint) -> tuple[int, str]:
    return (_ORDER.index(entry.name) if entry.name in _ORDER else len(_ORDER), entry.name)


def _loaded(entry: EntryPoint) -> Any:  # noqa: ANN401 - typer's copy of click's Command
    try:
        return _read(entry.name, entry.load())
    except Exception as reason:  # noqa: BLE001 - whatever a stranger's module raises, the others stay usable
        return _read(entry.name, _broken(entry, reason))


def _read(name: str, command: Callable[..., Any] | typer.Typer) -> Any:  # noqa: ANN401 - as above
    """Let typer read a command, or a group of commands such as ``danet data``; it may not understand it."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    if isinstance(command, typer.Typer):
        for part in command.registered_commands:
            part.cls = DanetCommand
        app.add_typer(command, name=name, cls=DanetGroup)
    else:
        app.command(name, cls=DanetCommand)(command)
    return typer.main.get_group(app).commands[name]


class DanetGroup(TyperGroup):
    """A group of commands, whose help shows flags as flags."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's copy of click's
        """Show the help."""
        show_bare(self.get_params(ctx))
        super().format_help(ctx, formatter)


class InstalledCommands(DanetGroup):
    """The subcommands that are installed, each loaded when it is asked for: reading all takes 0.2 s."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(**settings)
        found = sorted(entry_points(group=COMMAND_GROUP), key=_position)
        self._entries = {entry.name: entry for entry in found}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's copy of click's
        """List their names in the order of the pipeline."""
        return list(self._entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer's copy of click's
        """Load one of them; None: there is none of that name."""
        if cmd_name in self._entries and cmd_name not in self.commands:
            self.commands[cmd_name] = _loaded(self._entries[cmd_name])
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's copy of click's
        """Find the command that is meant; the error where there is none proposes the nearest of all."""
        if args[0] not in self._entries:
            if args[0] in BROUGHT_BY:
                package = BROUGHT_BY[args[0]]
                ctx.fail(
                    f"danet {args[0]} comes with {package}, which is not installed: pip install {package}"
                )
            for name in self._entries:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)


def build_app() -> typer.Typer:
    """The command line with every subcommand that is installed, in the order of the pipeline."""
    return typer.Typer(
        name="danet",
        cls=InstalledCommands,
        callback=_root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
