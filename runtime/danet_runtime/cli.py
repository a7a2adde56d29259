"""The ``danet`` command: its subcommands come from whatever distributions are installed.

Each distribution registers functions in the entry-point group ``danet.commands``. Modules with commands
import nothing heavy, so that ``danet --help`` answers at once; one that fails to load is listed as broken
and breaks no other.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any, NoReturn

import typer

from danet_runtime.commands.interruption import ignore_requests, sigterm_as_interrupt, survive_requests
from danet_runtime.commands.terminal import forgiving_stderr
from danet_runtime.files import is_full

COMMAND_GROUP = "danet.commands"
_INTERRUPTED = 130
"""What typer makes of Ctrl-C inside a command: work that was not done, as other failures are."""

_ORDER = (
    *("synthesize", "train", "import", "eval", "explain", "export", "calibrate"),
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
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


def _broken(entry: EntryPoint, reason: Exception) -> Callable[[], None]:
    cause = f"{type(reason).__name__}: {reason}"

    def command() -> None:
        typer.echo(f"danet {entry.name}: {entry.value} failed to load: {cause}", err=True)
        raise typer.Exit(1)

    command.__doc__ = f"(broken: {cause})"
    return command


def _check(command: Callable[..., Any]) -> None:
    """Let typer read the parameters now: one that it does not understand would end ``danet`` later."""
    alone = typer.Typer(add_completion=False)
    alone.command()(command)
    typer.main.get_command(alone)


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
            command: Callable[..., Any] = entry.load()
            _check(command)
        except Exception as reason:  # noqa: BLE001 - whatever a stranger's module raises, the others stay usable
            command = _broken(entry, reason)
        app.command(entry.name)(command)
    return app


def main() -> None:
    """Run ``danet``: exit code 0 done, 1 failed, interrupted or a gate not met, 2 wrong usage, 3 a fault."""
    # Workers of multiprocessing and of torch start as `python -c`, which imports from the working directory.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    survive_requests()
    try:
        with forgiving_stderr():
            _run()
    finally:
        ignore_requests()


def _run() -> None:
    came: Sequence[int] = ()
    try:
        with sigterm_as_interrupt() as came:
            build_app()()
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as end:
        if end.code == _INTERRUPTED or (came and end.code):
            _end_interrupted()
        raise
    except Exception as error:
        if came:  # whatever became of the interruption on its way
            logging.getLogger(__name__).info("where it happened", exc_info=error)
            _end_interrupted()
        _end_failed(error)


def _end_failed(error: Exception) -> NoReturn:
    if isinstance(error, OSError):  # a full disk, a folder without permission: the user's matter, not a bug
        logging.getLogger(__name__).info("where it happened", exc_info=error)
        place = f"{error.filename}: " if error.filename else ""
        advice = "; make room there, or give another path" if is_full(error) else ""
        typer.echo(f"danet: error: {place}{error.strerror or error}{advice}", err=True)
        sys.exit(1)
    code = getattr(error, "exit_code", None)
    if not isinstance(code, int):
        raise error
    typer.echo(f"danet: error: {error}", err=True)
    sys.exit(code)


def _end_interrupted() -> NoReturn:
    typer.echo("danet: interrupted", err=True)
    sys.exit(1)
