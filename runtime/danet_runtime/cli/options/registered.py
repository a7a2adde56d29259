"""Help texts about sources, sinks and backends, filled in from their registries.

Modules with commands import nothing heavy, and a registry imports the classes that it lists. So a help text
holds a placeholder such as ``{sources}``, and only `danet COMMAND --help` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from danet_runtime.cli.options.arguments import NAMED_ALONE, RARE
from danet_runtime.cli.options.everywhere import EVERYWHERE, CommonCommand, show_bare
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
_FEW: Final = 8
"""Number of options up to which one panel holds them all."""
_MANY: Final = 24
"""Number of options above which the help only names those that are rarely needed."""


class DanetCommand(CommonCommand):
    """A command whose help says what sources, sinks and backends there are.

    Options are shown in the groups that their declarations name, those of a short command in one. A long
    command explains what is rarely needed with ``--help-all`` alone.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(*arguments, **settings)
        own: list[Any] = [one for one in self.params if _is_own_option(one)]
        if len(own) <= _FEW:
            for option in own:
                option.rich_help_panel = None
        self._has_rare = len(own) > _MANY and not all(map(_is_explained, own))
        if self._has_rare:
            self.params.append(_help_all())
        self.help = _in_paragraphs(self.help)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's copy of click's
        """Fill in the placeholders, and show the help."""
        show_bare(self.get_params(ctx))
        for parameter in self.params:
            documented: Any = parameter  # an argument or an option: typer's have both
            documented.help = _filled(documented.help)
            documented.metavar = _filled(documented.metavar)
        kept = self.params
        self.params = sorted(kept, key=_place)
        if self._has_rare and _ALL not in ctx.meta:
            self.params = [one for one in self.params if _is_explained(one)]
            names = ", ".join(one.opts[0] for one in kept if one not in self.params)
            self.epilog = f"Explained by --help-all: {names}."
        with _opposites_in_words(self.params):
            super().format_help(ctx, formatter)
        self.params = kept


def _is_own_option(parameter: Any) -> bool:  # noqa: ANN401 - typer's copy of click's
    is_shown = parameter.param_type_name == "option" and not parameter.hidden
    return is_shown and parameter.rich_help_panel != EVERYWHERE


def _is_explained(parameter: Any) -> bool:  # noqa: ANN401 - typer's copy of click's
    return getattr(parameter, "rich_help_panel", None) not in NAMED_ALONE


def _place(parameter: Any) -> int:  # noqa: ANN401 - typer's copy of click's
    panel = getattr(parameter, "rich_help_panel", None)
    return 1 if panel == RARE else 2 if panel == EVERYWHERE else 0


@contextmanager
def _opposites_in_words(parameters: Iterable[Any]) -> Iterator[None]:
    """While the block runs, let the help of ``--x`` tell of ``--no-x``, which its own column cuts off."""
    pairs = [(one, one.secondary_opts, one.help) for one in parameters if one.secondary_opts]
    for option, opposite, text in pairs:
        option.secondary_opts, option.help = [], f"{text} {opposite[0]} is the opposite."
    try:
        yield
    finally:
        for option, opposite, text in pairs:
            option.secondary_opts, option.help = opposite, text


def _in_paragraphs(text: str | None) -> str | None:
    """Let the terminal's width alone break lines within a paragraph, and not the source's."""
    if text is None:
        return None
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


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
