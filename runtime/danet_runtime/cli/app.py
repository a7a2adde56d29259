"""The ``danet`` command: its subcommands come from whatever distributions are installed.

Each distribution registers functions, or a ``typer.Typer`` with several, in the entry-point group
``danet.commands``. Modules with commands
import nothing heavy, so that ``danet --help`` answers at once; one that fails to load is listed as broken
and breaks no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer

from danet_runtime.cli.console.printing import tell
from danet_runtime.cli.options.registered import DanetCommand
from danet_runtime.visible_text import VisibleFormatter

COMMAND_GROUP = "danet.commands"

_ORDER = (
    *("synthesize", "data", "train", "import", "eval", "explain", "export", "calibrate"),
    *("build", "run", "replay", "profile", "compare", "keygen", "sign", "verify", "doctor"),
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"danet {version('danet-runtime')}")
        raise typer.Exit


def _root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the libraries do.")] = False,
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """DANet Edge: from PyTorch training to a real-time segmentation stream on a vehicle's GPU."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


def _broken(entry: EntryPoint, reason: Exception) -> Callable[[], None]:
    cause = f"{type(reason).__name__}: {reason}"

    def command() -> None:
        tell(f"danet {entry.name}: {entry.value} failed to load: {cause}", err=True)
        raise typer.Exit(1)

    command.__doc__ = f"(broken: {cause})"
    return command


def _check(command: Callable[..., Any] | typer.Typer) -> None:
    """Let typer read the parameters now: one that it does not understand would end ``danet`` later."""
    if isinstance(command, typer.Typer):
        typer.main.get_command(command)
        return
    alone = typer.Typer(add_completion=False)
    alone.command()(command)
    typer.main.get_command(alone)


def _add(app: typer.Typer, name: str, command: Callable[..., Any] | typer.Typer) -> None:
    """Add a command, or a group of commands such as ``danet data``."""
    if not isinstance(command, typer.Typer):
        app.command(name, cls=DanetCommand)(command)
        return
    for part in command.registered_commands:
        part.cls = DanetCommand
    app.add_typer(command, name=name)


def _position(entry: EntryPoint) -> tuple[int, str]:
    return (_ORDER.index(entry.name) if entry.name in _ORDER else len(_ORDER), entry.name)


def build_app() -> typer.Typer:
    """The command line with every subcommand that is installed, in the order of the pipeline."""
    app = typer.Typer(
        name="danet",
        callback=_root,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for entry in sorted(entry_points(group=COMMAND_GROUP), key=_position):
        try:
            command: Callable[..., Any] | typer.Typer = entry.load()
            _check(command)
        except Exception as reason:  # noqa: BLE001 - whatever a stranger's module raises, the others stay usable
            command = _broken(entry, reason)
        _add(app, entry.name, command)
    return app
