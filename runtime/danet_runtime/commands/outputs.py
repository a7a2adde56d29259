"""What ``danet run`` reads and writes: names of cameras, and the outputs of each."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from danet_runtime.commands.collisions import Place, PlaceKind
    from danet_runtime.pixel_formats import Pixels
    from danet_runtime.sources.base import Source

CAMERA = "{camera}"
"""Stands for the camera's name in paths of outputs."""

_NAMED = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]*)=(?P<source>.+)")


def named_sources(sources: list[str]) -> dict[str, str]:
    """The sources by name: as they were given, else ``source``, or ``camera-0`` and so on for several."""
    from danet_runtime.errors import UsageError

    named: dict[str, str] = {}
    for number, text in enumerate(sources):
        match = None if Path(text).exists() else _NAMED.fullmatch(text)
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


def open_all(named: dict[str, str], realtime: bool, pixels: Pixels) -> dict[str, Source]:
    """Open every source; those that are open are closed where a later one cannot be."""
    from danet_runtime.sources import open_source

    opened: dict[str, Source] = {}
    with ExitStack() as undo:
        for name, text in named.items():
            opened[name] = open_source(text, realtime=realtime, pixels=pixels)
            undo.callback(opened[name].close)
        undo.pop_all()  # the stream closes them from here on
    return opened


def places_of(texts: dict[str, list[str]], boxes: dict[str, Path], report: Path | None) -> list[Place]:
    """Every file and folder that is going to be written to.

    Args:
        texts: What names the sinks of each camera.
        boxes: Folders of the black boxes, by camera.
        report: The report.

    Raises:
        UsageError: A text names no sink, or two sinks share a name that is no path.
    """
    from danet_runtime.commands.collisions import Place
    from danet_runtime.errors import UsageError
    from danet_runtime.sinks import sink_target
    from danet_runtime.sources.uri import redacted

    places = []
    others: set[str] = set()
    for name, of_camera in texts.items():
        for text in of_camera:
            target = sink_target(text)
            if target.path is not None:
                kind: PlaceKind = "masks" if target.kind == "masks" else "file"
                places.append(Place(f"{text} of {name}", target.path, kind))
            elif target.kind != "window":
                address = target.rest.partition("?")[0] if target.kind == "shm" else target.rest
                if (whole := f"{target.kind} {address}") in others:
                    raise UsageError(f"two outputs are {redacted(text)!r}; give each its own name")
                others.add(whole)
    places += [Place(f"--black-box of {name}", folder, "folder") for name, folder in boxes.items()]
    if report is not None:
        places.append(Place("--report", report))
    return places


def report_beside(output: Path | None, masks: Path | None) -> Path | None:
    """Where the report goes that nobody named: beside the video, or into the folder of masks."""
    if output is not None:
        return output.with_suffix(".json")
    return masks / "report.json" if masks is not None else None
