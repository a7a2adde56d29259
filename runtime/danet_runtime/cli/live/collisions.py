"""Check of the paths of ``danet run``: no output may overwrite a source, a bundle or another output."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from danet_runtime.errors import UsageError
from danet_runtime.sources.registry import path_of

PlaceKind = Literal["file", "masks", "folder"]


@dataclass(frozen=True)
class Place:
    """Path of one output.

    Attributes:
        option: Option that named it, for messages: ``--output``, ``--sink of front``.
        path: The file or the folder.
        kind: ``masks`` is a folder that gets PNG files, ``folder`` one that gets folders only.
    """

    option: str
    path: Path
    kind: PlaceKind = "file"


def check_apart(sources: dict[str, str], bundles: Iterable[Path], places: Sequence[Place]) -> None:
    """Refuse outputs that would overwrite a source, a bundle or each other, whatever ``--overwrite`` says.

    Symbolic and hard links are followed. What a GStreamer pipeline reads or writes by itself is not known.

    Args:
        sources: The texts that name them, by the names of the cameras.
        bundles: Folders that are read.
        places: The outputs.

    Raises:
        UsageError: Two of the paths are the same file or folder.
    """
    read = [(f"SOURCE {name}", file) for name, text in sources.items() for file in files_of_source(text)]
    read_identities = {identity: (name, file) for name, file in read for identity in _identities(file)}
    read_folders = {_resolved(file.parent): (name, file) for name, file in read}
    inside = [_resolved(folder) for folder in bundles]
    written: dict[object, Place] = {}
    mask_folders: dict[Path, Place] = {}
    for place in places:
        for identity in _identities(place.path):
            if found := read_identities.get(identity):
                raise UsageError(
                    f"{found[0]} and {place.option} are both {place.path}; give each its own path"
                )
            other = written.setdefault(identity, place)
            if other is not place:
                raise UsageError(
                    f"{other.option} and {place.option} are both {place.path}; give each its own path"
                )
        folder = _resolved(place.path)
        if place.kind == "masks":
            mask_folders[folder] = place
            if found := read_folders.get(folder):
                raise UsageError(
                    f"{place.option} is {place.path}, where {found[0]} reads {found[1].name}; "
                    "give each its own path"
                )
        if any(bundle in (folder, *folder.parents) for bundle in inside):
            raise UsageError(
                f"{place.option} is {place.path}, inside a bundle, which never changes; give another path"
            )
    for place in places:
        among = mask_folders.get(_resolved(place.path.parent))
        if among is not None and place.kind == "file" and place.path.suffix.lower() == ".png":
            raise UsageError(
                f"{place.option} is {place.path}, among the masks of {among.option}; give each its own path"
            )


def files_of_source(text: str) -> list[Path]:
    """The files that a source reads; none for cameras, networks and pipelines."""
    path = path_of(text)
    if path is None:
        return []
    if path.is_dir():
        return [file for file in path.iterdir() if file.is_file()]
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        return [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - also absolute ones
    return []


def _identities(path: Path) -> frozenset[object]:
    """Return keys of a path: writing to one of two paths changes the other exactly if they share a key.

    Empty for a device such as /dev/null, which several outputs may share.
    """
    try:
        status = path.stat()
    except OSError:
        status = None
    if status is not None and stat.S_ISCHR(status.st_mode):
        return frozenset()
    found: set[object] = {_resolved(path), _resolved(path.parent) / path.name}
    if status is not None:
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
