"""Help texts about sources, sinks and backends, filled in from their registries.

Modules with commands import nothing heavy, and a registry imports the classes that it lists. So a help text
holds a placeholder such as ``{sources}``, and only `danet COMMAND --help` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import typer

from danet_runtime.cli.options.everywhere import CommonCommand


def _sources() -> str:
    from danet_runtime.sources import SOURCES

    return SOURCES.explained


def _sinks() -> str:
    from danet_runtime.sinks import SINKS

    return SINKS.explained


def _video_suffixes() -> str:
    from danet_runtime.sinks.video import VideoSink

    return ", ".join(VideoSink.statement.suffixes)


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
    "{video suffixes}": _video_suffixes,
    "{backends}": lambda: _backends(compared=False),
    "{compared backends}": lambda: _backends(compared=True),
    "{backend names}": _backend_names,
    "{engines}": _engines,
    "{engine names}": _engine_names,
}


class DanetCommand(CommonCommand):
    """A command whose help says what sources, sinks and backends there are."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's copy of click's
        """Fill in the placeholders, and show the help."""
        for parameter in self.params:
            documented: Any = parameter  # an argument or an option: typer's have both
            documented.help = _filled(documented.help)
            documented.metavar = _filled(documented.metavar)
        super().format_help(ctx, formatter)


def backend_name(text: str) -> str:
    """Read the name of a backend of a stream, for typer.

    Raises:
        BadParameter: There is none of that name.
    """
    from danet_runtime.backends.registry import backends

    return _one_of(backends(), text)


def engine_name(text: str) -> str:
    """Read the name of a backend whose engines `danet build` makes, for typer.

    Raises:
        BadParameter: There is none of that name.
    """
    from danet_runtime.backends.registry import engine_backends

    return _one_of(engine_backends(), text)


def _one_of(there: Collection[str], text: str) -> str:
    if text not in there:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, there))}.")
    return text


def _filled(text: str | None) -> str | None:
    for placeholder, filling in _FILLINGS.items():
        if text is not None and placeholder in text:
            text = text.replace(placeholder, filling())
    return text
