"""Writing files and folders so that a reader sees either all of them or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from danet_runtime.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it to ``path`` when the block ends well.

    The suffix is kept, since encoders choose their format by it. When the block raises, the unfinished
    file is removed and whatever stood at ``path`` before is untouched.

    Raises:
        UsageError: ``path`` cannot be written as a file.
    """
    check_file_target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, mark: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside ``path``; rename it to ``path`` when the block ends well.

    Args:
        path: The folder.
        mark: A file by which a folder of this kind is known; only such a one, or an empty one, is replaced.
        overwrite: Whether a folder there may be replaced.

    Raises:
        UsageError: ``path`` cannot be written as such a folder (see :func:`check_folder_target`).
    """
    check_folder_target(path, mark, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    partial.chmod(0o755)
    try:
        yield partial
        if path.exists():
            retired = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(retired)
            partial.rename(path)
            shutil.rmtree(retired)
        else:
            partial.rename(path)
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)


def check_file_target(path: Path) -> None:
    """Find out before long work, not after, that ``path`` cannot be written as a file.

    Raises:
        UsageError: ``path`` is a folder or no name, or its folder cannot be made or written to.
    """
    if path.is_dir() or not path.name:
        raise UsageError(f"{path} is a folder; give the path of a file to write")
    _check_makeable(path.parent)


def check_folder_target(path: Path, mark: str, *, overwrite: bool = False) -> None:
    """Find out before long work, not after, that ``path`` cannot be written as a folder of a kind.

    Args:
        path: The folder.
        mark: A file by which a folder of this kind is known.
        overwrite: Whether one that is there may be replaced.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is false, or it is something else than a folder of this
            kind, or the folder around it cannot be made or written to.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already; give another path, or --overwrite to replace it")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; give the path of a folder to write")
    if path.exists() and not (path / mark).is_file() and any(path.iterdir()):
        raise UsageError(
            f"{path} holds files but no {mark}, so it is not what would be written there; "
            "--overwrite does not remove it: give another path"
        )
    _check_makeable(path.parent)


def _check_makeable(folder: Path) -> None:
    """Nothing is made here: what is refused later must leave no empty folder behind."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{folder} cannot be made: {there} is a file; give another path")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{there} cannot be written to; give another path")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever json takes
    """Write ``value`` as indented JSON, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def sha256_of(data: bytes) -> str:
    """The SHA-256 of ``data`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
