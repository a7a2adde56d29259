"""Writing files and folders so that a reader sees either all of them or nothing, also after a power cut."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from danet_runtime.errors import UsageError
from danet_runtime.files.durability import (
    exchange,
    make_folder,
    sync_descriptor,
    sync_file,
    sync_folder,
    sync_tree,
)
from danet_runtime.files.names import MOST_NAME_BYTES
from danet_runtime.files.partials import partial_file, partial_folder, remove_dead, retired_folder
from danet_runtime.files.targets import check_kind, followed, is_stream, open_stream

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NOT_SERVED: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # by a file system that reserves no room


@contextmanager
def replacing(path: Path, *, follow: bool = True, one_of_many: bool = False) -> Iterator[Path]:
    """Yield an empty file beside ``path`` to write to; rename it to ``path`` when the block ends well.

    The suffix is kept, since encoders choose their format by it. When the block raises, the unfinished
    file is removed and whatever stood at ``path`` before is untouched. Where ``path`` is a link, what it
    leads to is replaced; a stream (see :mod:`danet_runtime.files.targets`) gets the whole content at the end.
    When this returns, the file is on the disk: its content was flushed before it got its name, and its name
    after.

    Args:
        path: The file; its folder is made.
        follow: Whether somebody has named it; else a link or a stream there, which others may have put in
            its way, is replaced itself.
        one_of_many: It is one of thousands in a folder, which nobody has named: flushing them, and removing
            what a killed process left, is done by the caller for all of them.

    Raises:
        UsageError: ``path`` cannot be written as a file.
        OSError: The disk is full, or the like; where it is full, the error names ``path``.
    """
    if follow and not one_of_many:
        check_file_target(path)
        if is_stream(path):
            with _streaming(path) as partial:
                yield partial
            return
        path = followed(path)
    with _naming_where_full(path):
        make_folder(path.parent)
        if not one_of_many:
            remove_dead(path)
        with partial_file(path) as partial:
            yield partial
            if not one_of_many:
                sync_file(partial)
            partial.replace(path)
        if not one_of_many:
            sync_folder(path.parent)


@contextmanager
def _streaming(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="danet-") as folder:
        partial = Path(folder) / f"partial{path.suffix}"
        yield partial
        with partial.open("rb") as made, open(open_stream(path), "wb") as stream:  # noqa: PTH123 - a descriptor
            shutil.copyfileobj(made, stream)
            stream.flush()
            sync_descriptor(stream.fileno())


@contextmanager
def replacing_folder(path: Path, mark: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside ``path``; give it that name when the block ends well.

    When this returns, everything in it is on the disk. A folder that was there is exchanged for it in one
    step, so that at every moment one of them stands there, and removed afterwards. A file system that does
    not serve that (some network and FUSE ones) has a moment with neither: a process that is killed just then
    leaves the old one as ``.NAME.*.old``, and the next that writes there puts it back.

    Args:
        path: The folder.
        mark: A file by which a folder of this kind is known; only such a one, or an empty one, is replaced.
        overwrite: Whether a folder there may be replaced.

    Raises:
        UsageError: ``path`` cannot be written as such a folder (see :func:`check_folder_target`).
        OSError: The disk is full, or the like; where it is full, the error names ``path``.
    """
    remove_dead(followed(path))
    check_folder_target(path, mark, overwrite=overwrite)
    path = followed(path)
    with _naming_where_full(path):
        make_folder(path.parent)
        with partial_folder(path) as partial:
            yield partial
            sync_tree(partial)
            if not path.exists():
                partial.rename(path)
            elif not exchange(partial, path):
                with retired_folder(path):
                    partial.rename(path)
                    sync_folder(path.parent)
            sync_folder(path.parent)  # before what was there is removed


@contextmanager
def _naming_where_full(path: Path) -> Iterator[None]:
    """A write to a full disk does not say to which file, or names one that is gone by then."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            error.filename = str(path)
        raise


def _check_name(path: Path) -> None:
    length = len(os.fsencode(path.name))
    if length > MOST_NAME_BYTES:
        raise UsageError(
            f"{path.name[:40]}... is a name of {length} bytes; a file's has at most {MOST_NAME_BYTES}"
        )


def is_full(error: OSError) -> bool:
    """Whether it says that the disk, or what of it one user may take, is full."""
    return error.errno in _FULL


def check_room(path: Path, size: int) -> None:
    """Find out before long work, not after, that there is no room for what must be written to ``path``.

    The room is taken for a moment and given back: that sees quotas and read-only disks too. Nothing is left.

    Args:
        path: A file or folder that will be written; it need not be there.
        size: Size of the output in bytes, at the very least.

    Raises:
        OSError: There is no room, or nothing can be written there; it names ``path``.
    """
    there = next(folder for folder in path.absolute().parents if folder.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in _NOT_SERVED:
            error.filename = str(path)
            raise


def check_file_target(path: Path) -> None:
    """Find out before long work, not after, that ``path`` cannot be written as a file.

    Raises:
        UsageError: ``path`` is a folder or no name, its name is too long, it is neither a
            regular file nor a stream (see :mod:`danet_runtime.files.targets`), or its folder cannot be made
            or written to.
    """
    _check_name(path)
    if path.is_dir() or not path.name:
        raise UsageError(f"{path} is a folder; give the path of a file to write")
    check_kind(path)
    if not is_stream(path):
        _check_makeable(followed(path).parent)


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
    _check_name(path)
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists already; give another path, or --overwrite to replace it")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; give the path of a folder to write")
    if path.exists() and not (path / mark).is_file() and any(path.iterdir()):
        raise UsageError(
            f"{path} holds files but no {mark}, so it is not what would be written there; "
            "--overwrite does not remove it: give another path"
        )
    _check_makeable(followed(path).parent)


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
