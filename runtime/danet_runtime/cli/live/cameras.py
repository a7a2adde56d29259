"""The cameras of ``danet run``: their names, and the options that belong to each."""

from __future__ import annotations

import re

_NAMED = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]*)=(?P<source>.+)")


def named_sources(sources: list[str]) -> dict[str, str]:
    """The sources by name: as they were given, else ``source``, or ``camera-0`` and so on for several.

    What stands in the file system under the whole text is that file and has no name in front of it.
    """
    from danet_runtime.errors import UsageError
    from danet_runtime.sources.registry import is_entry

    named: dict[str, str] = {}
    for number, text in enumerate(sources):
        match = None if is_entry(text) else _NAMED.fullmatch(text)
        default = "source" if len(sources) == 1 else f"camera-{number}"
        name = match["name"] if match else default
        if name in named:
            raise UsageError(f"two sources are called {name}; give each its own name")
        named[name] = match["source"] if match else text
    return named


def sizes_of(texts: list[str], named: dict[str, str]) -> dict[str, tuple[int, int]]:
    """The sizes of cameras by name, from ``NAME=HxW``, or ``HxW`` for all.

    Raises:
        UsageError: A text is no size, or names no source.
    """
    from danet_runtime.cli.options.arguments import parse_size
    from danet_runtime.errors import UsageError

    sizes: dict[str, tuple[int, int]] = {}
    for text in texts:
        name, equals, size = text.rpartition("=")
        if equals and name not in named:
            raise UsageError(f"--camera-size names {name!r}; the sources are {', '.join(named)}")
        sizes.update(dict.fromkeys([name] if equals else named, parse_size(size, "--camera-size")))
    return sizes


def check_sources(named: dict[str, str]) -> None:
    """Refuse two readers of one camera; test patterns, files and streams are shared by any number."""
    from danet_runtime.errors import UsageError
    from danet_runtime.sources.registry import named_source

    seen: dict[str, str] = {}
    for name, text in named.items():
        found = named_source(text)
        if found is None or not found.kind.statement.is_exclusive:
            continue
        if (other := seen.setdefault(found.text, name)) != name:
            raise UsageError(
                f"{other} and {name} are both {found.text}, and a device gives its frames to one reader; "
                "name another device, or give it once with the outputs of both"
            )
