"""Help texts about sources, sinks and backends, filled in from their registries.

Modules with commands import nothing heavy, and a registry imports the classes that it lists. So a help text
holds a placeholder such as ``{sources}``, and only `danet COMMAND --help` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final

import typer

from danet_runtime.cli.options.arguments import NAMED_ALONE
from danet_runtime.cli.options.everywhere import EVERYWHERE, CommonCommand
from danet_runtime.cli.options.precisions import parted


def _sources() -> str:
    from danet_runtime.sources import SOURCES

    return SOURCES.explained


def _sinks() -> str:
    from danet_runtime.sinks import SINKS

    return SINKS.explained


def _backends(compared: bool) -> str:
    from danet_runtime.backends.registry import backends

    return ", ".join(kind.statement.explained for kind in backends(compared=compared).values())


def _backend_names() -> str:
    from danet_runtime.backends.registry import backends

    return f"[{'|'.join(backends())}]"


def _engines() -> str:
    from danet_runtime.backends.registry import engine_backends

    return ", ".join(stated.built for stated in engine_backends().values())


def _engine_names() -> str:
    from danet_runtime.backends.registry import engine_backends

    return f"[{'|'.join(engine_backends())}]"


_FILLINGS: Final[Mapping[str, Callable[[], str]]] = {
    "{sources}": _sources,
    "{sinks}": _sinks,
    "{backends}": lambda: _backends(compared=False),
    "{compared backends}": lambda: _backends(compared=True),
    "{backend names}": _backend_names,
    "{engines}": _engines,
    "{engine names}": _engine_names,
}


_ALL: Final = "danet.help all"


class DanetCommand(CommonCommand):
    """A command whose help says what sources, sinks and backends there are."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(*arguments, **settings)
        if any(getattr(one, "rich_help_panel", None) in NAMED_ALONE for one in self.params):
            self.params.append(_help_all())

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's copy of click's
        """Fill in the placeholders, and show the help."""
        for parameter in self.params:
            documented: Any = parameter  # an argument or an option: typer's have both
            documented.help = _filled(documented.help)
            documented.metavar = _filled(documented.metavar)
        kept, self.params = (
            self.params,
            [one for one in self.params if _is_explained(one) or _ALL in ctx.meta],
        )
        if len(kept) > len(self.params):
            names = ", ".join(one.opts[0] for one in kept if one not in self.params)
            self.epilog = f"Explained by --help-all: {names}."
        super().format_help(ctx, formatter)
        self.params = kept


def _is_explained(parameter: Any) -> bool:  # noqa: ANN401 - typer's copy of click's
    return getattr(parameter, "rich_help_panel", None) not in NAMED_ALONE


def _show_all(ctx: typer.Context, asked: bool) -> None:
    if asked:
        ctx.meta[_ALL] = True
        ctx.get_help()  # printed by rich
        raise typer.Exit


def _for_help(
    everything: Annotated[
        bool,
        typer.Option(
            "--help-all",
            callback=_show_all,
            is_eager=True,
            help="Show the help with what is rarely needed, and exit.",
            rich_help_panel=EVERYWHERE,
        ),
    ] = False,
) -> None:
    """Hold the option for typer to read."""


def _help_all() -> Any:  # noqa: ANN401 - typer's copy of click's
    app = typer.Typer(add_completion=False)
    app.command()(_for_help)
    option: Any = typer.main.get_command(app).params[0]
    option.expose_value = False
    return option


def backend_name(text: str) -> str:
    """Check ``BACKEND`` or ``BACKEND:PRECISION`` of a stream, for typer.

    Raises:
        BadParameter: There is none of that name.
    """
    from danet_runtime.backends.registry import backends

    return _one_of(backends(), text)


def engine_name(text: str) -> str:
    """Check a backend whose engines `danet build` makes, with or without a precision, for typer.

    Raises:
        BadParameter: There is none of that name.
    """
    from danet_runtime.backends.registry import engine_backends

    return _one_of(engine_backends(), text)


def _one_of(there: Collection[str], text: str) -> str:
    backend, _precision = parted(text)
    if backend not in there:
        raise typer.BadParameter(f"{backend!r} is not one of {', '.join(map(repr, there))}.")
    return text


def _filled(text: str | None) -> str | None:
    for placeholder, filling in _FILLINGS.items():
        if text is not None and placeholder in text:
            text = text.replace(placeholder, filling())
    return text
