"""Getting what is announced onto the disk, so that it is there, and whole, after a power cut.

A file that was written and renamed stands in the page cache; the disk has it up to half a minute later, and
its name, its size and its content come there one by one. What is announced is flushed first, from the inside
out: the content, then the name that leads to it, then the folders that were made for it.

``danet_train`` and ``danet_runtime`` import no sibling, so each has this file; a test holds them equal.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

_NOT_FLUSHED: Final = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of flushing a pipe, or a folder on a file system that flushes no folders."""

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def sync_descriptor(descriptor: int) -> None:
    """Flush the content of an open file, and what of its facts reading it again needs.

    Raises:
        OSError: It did not reach the disk; it may be lost.
    """
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_FLUSHED:
            raise


def sync_file(path: Path) -> None:
    """Flush the content of a file; its name is flushed by :func:`sync_folder`.

    Raises:
        OSError: It did not reach the disk; it may be lost.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_FLUSHED:
            raise
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush the names that stand in a folder.

    Raises:
        OSError: They did not reach the disk.
    """
    try:
        sync_file(path)
    except PermissionError:  # one may write to it and not read it
        os.sync()


def sync_tree(folder: Path) -> None:
    """Flush everything in a folder: its files, the folders in it, their names.

    One call for its whole file system, where that is served: 1500 pictures of 30 kB took 0.14 to 0.26 s so
    and 0.6 to 2.3 s one by one (ext4 on a virtual disk, and on a loop device). What other programs have
    written to that file system is waited for too.

    Raises:
        OSError: Something did not reach the disk.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "syncfs"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.syncfs(descriptor) == 0:
                return
            number = ctypes.get_errno()
        finally:
            os.close(descriptor)
        if number not in _NOT_FLUSHED:
            raise OSError(number, os.strerror(number), str(folder))
    for around, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(around, name))
        sync_folder(Path(around))


def make_folder(path: Path) -> None:
    """Make a folder and those around it where they are missing, and flush the names of what was made.

    Raises:
        OSError: It cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step, so that at every moment something stands at both.

    Returns:
        Whether it was done; some file systems do not serve it, and then nothing has changed.

    Raises:
        OSError: They cannot be renamed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    names = (os.fsencode(one), os.fsencode(other))
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_FLUSHED:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
