"""What ``danet run`` reads and writes: names of cameras, and the outputs of each."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from danet_runtime.sinks.base import Sink

CAMERA = "{camera}"
"""Stands for the camera's name in paths of outputs."""

_NAMED = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]*)=(?P<source>.+)")


def named_sources(sources: list[str]) -> dict[str, str]:
    """The sources by name: as they were given, else ``source``, or ``camera-0`` and so on for several."""
    from danet_runtime.errors import UsageError

    named: dict[str, str] = {}
    for number, text in enumerate(sources):
        # os.path.exists: a pipeline is no path, and may be longer than any.
        match = None if os.path.exists(text) else _NAMED.fullmatch(text)  # noqa: PTH110
        default = "source" if len(sources) == 1 else f"camera-{number}"
        name = match["name"] if match else default
        if name in named:
            raise UsageError(f"two sources are called {name}; give each its own name")
        named[name] = match["source"] if match else text
    return named


def path_of_camera(path: Path | None, name: str, cameras: int, option: str) -> Path | None:
    """The path with the camera's name in it."""
    return None if path is None else Path(text_of_camera(str(path), name, cameras, option))


def text_of_camera(text: str, name: str, cameras: int, option: str = "--sink") -> str:
    """The text with the camera's name in it.

    Raises:
        UsageError: There are several cameras, and the text has no place for their names.
    """
    from danet_runtime.errors import UsageError
    from danet_runtime.sources.uri import redacted

    if cameras > 1 and CAMERA not in text and text != "window:":
        raise UsageError(f"with several sources {option} must hold {CAMERA} (got {redacted(text)!r})")
    return text.replace(CAMERA, name)


def sinks_of(paths: list[Path | str | None], further: list[str], legend: bool, overwrite: bool) -> list[Sink]:
    """The sinks that are named.

    Raises:
        UsageError: One names no sink, or a file that exists and may not be replaced.
    """
    from danet_runtime.sinks import open_sink

    return [
        open_sink(text, legend=legend, overwrite=overwrite) for text in (*paths, *further) if text is not None
    ]


def sizes_of(texts: list[str], named: dict[str, str]) -> dict[str, tuple[int, int]]:
    """The sizes of cameras by name, from ``NAME=HxW``, or ``HxW`` for all.

    Raises:
        UsageError: One is no size, or names no source.
    """
    from danet_runtime.commands.arguments import parse_size
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
    from danet_runtime.sources import camera_of

    seen: dict[int, str] = {}
    for name, text in named.items():
        index = camera_of(text)
        if index is not None and (other := seen.setdefault(index, name)) != name:
            raise UsageError(
                f"{other} and {name} are both camera:{index}, and a device gives its frames to one reader; "
                "name another device, or give it once with the outputs of both"
            )


def check_apart(named: dict[str, str], outputs: dict[str, Path | None]) -> None:
    """Refuse outputs that would overwrite a source or each other, whatever --overwrite says."""
    from danet_runtime.errors import UsageError
    from danet_runtime.sources import path_of

    seen = {path.resolve(): f"SOURCE {name}" for name, text in named.items() if (path := path_of(text))}
    for name, path in outputs.items():
        if path is None:
            continue
        other = seen.setdefault(path.resolve(), name)
        if other != name:
            raise UsageError(f"{other} and {name} are both {path}; give each its own path")


def report_beside(output: Path | None, masks: Path | None) -> Path | None:
    """Where the report goes that nobody named: beside the video, or into the folder of masks."""
    if output is not None:
        return output.with_suffix(".json")
    return masks / "report.json" if masks is not None else None
