"""Writing files and folders so that a reader sees either all of them or nothing, also after a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from danet_train.errors import UsageError, WriteError
from danet_train.files.durability import exchange, make_folder, sync_file, sync_folder, sync_tree
from danet_train.files.names import MOST_NAME_BYTES
from danet_train.files.partials import partial_file, partial_folder, remove_dead, retired_folder

_MOST_LINKS = 40


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it to ``path`` when the block ends well.

    The suffix is kept, since encoders choose their format by it. When the block raises, the unfinished
    file is removed and whatever stood at ``path`` before is untouched. Where ``path`` is a link, what it
    leads to is replaced and the link stays. When this returns, the file is on the disk: its content was
    flushed before it got its name, and its name after.
    """
    check_file_target(path)
    path = _followed(path)
    make_folder(path.parent)
    remove_dead(path)
    with partial_file(path) as partial:
        yield partial
        sync_file(partial)
        partial.replace(path)
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all.

    Raises:
        UsageError: See :func:`check_file_target`.
        WriteError: The disk is full, or writing fails otherwise; whatever stood at ``path`` is untouched.
    """
    try:
        with replacing(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written ({error.strerror or error}; {len(content)} bytes); make room there"
        ) from error


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside ``path``; give it that name when the block ends well.

    When this returns, everything in it is on the disk. A folder that was there is exchanged for it in one
    step where the file system serves that, so that at every moment one of them stands there.

    Raises:
        UsageError: ``path`` exists already and ``overwrite`` is false, or it or a part of it is a file.
    """
    remove_dead(_followed(path))
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; give the path of a folder to make")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists already; give another path, or --overwrite to replace it")
    path = _followed(path)
    _make_parent(path)
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


def check_file_target(path: Path) -> None:
    """Find out before long work, not after, that ``path`` cannot be written as a file.

    Raises:
        UsageError: ``path`` is a folder, a device, a FIFO or a socket, or an open file of this process under
            a name such as ``/dev/stdout``; its name is too long; or its folder cannot be made or written to.
    """
    if (length := len(os.fsencode(path.name))) > MOST_NAME_BYTES:
        raise UsageError(
            f"{path.name[:40]}... is a name of {length} bytes; a file's has at most {MOST_NAME_BYTES}"
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the path of a file to write")
    if (path.exists() and not path.is_file()) or _is_descriptor(path):
        raise UsageError(f"{path} is no regular file, and only such a one is replaced; give another path")
    _make_parent(_followed(path))


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Find out before long work that an output would replace another output, an input, or another file.

    Args:
        outputs: Files to write.
        inputs: Files that are read; none of them is replaced, asked for or not.
        overwrite: Whether another file that is there may be replaced.

    Raises:
        UsageError: It would, or an output cannot be written.
    """
    taken = {path.resolve(): f"{path}, which is read" for path in inputs}
    for path in outputs:
        check_file_target(path)
        if path.resolve() in taken:
            raise UsageError(f"{path} would replace {taken[path.resolve()]}; give another path")
        if os.path.lexists(path) and not overwrite:
            raise UsageError(f"{path} exists already; give another path, or --overwrite to replace it")
        taken[path.resolve()] = "another output"


def _followed(path: Path) -> Path:
    """Return the target of a link; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_descriptor(path: Path) -> bool:
    """Return whether ``path`` names an open file of a process, such as ``/dev/stdout``."""
    for _ in range(_MOST_LINKS):
        parent = os.path.realpath(path.parent)
        if parent.startswith("/proc/"):
            return True
        if not path.is_symlink():
            return False
        path = Path(parent) / path.readlink()
    return False


def _make_parent(path: Path) -> None:
    try:
        make_folder(path.parent)
    except OSError as error:
        raise UsageError(f"{path.parent} cannot be made ({error.strerror}); give another path") from error
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path.parent} cannot be written to; give another path")
