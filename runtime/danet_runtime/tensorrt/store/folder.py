"""The folder of engines, trusted by its ownership: engines are native code, and no key signs them.

As ssh does with its own files: what another user owns, or another user could write, is refused before it is
read. The superuser may write everything anyway, so what is root's is as good as one's own.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from danet_runtime.errors import BackendError
from danet_runtime.files.durability import make_folder, sync_folder

_ROOT: Final = 0
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_PRIVATE: Final = 0o700


def make_own_folder(folder: Path) -> None:
    """Make a folder that only this user can write to, whatever the umask, or make sure that it is one.

    Raises:
        BackendError: It is there, and others can write to it or own it.
    """
    make_folder(folder.parent)
    if not folder.exists():
        folder.mkdir(_PRIVATE, exist_ok=True)
        sync_folder(folder.parent)
    require_own_folder(folder)


def require_own_folder(folder: Path) -> None:
    """Make sure that nobody else can put an engine into a folder; one that is not there holds none.

    The folder may be reached through a link; what counts is where that leads. Of the folders around it, one
    that everybody can write to (and that is not sticky, as /tmp is) would let others exchange it.

    Raises:
        BackendError: Others can write to it or own it; the message says what to do.
    """
    try:
        place = folder.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    _refuse(place, place.stat(), "the engine folder", "or give another --engine-dir")
    for around in place.parents:
        mode = around.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise BackendError(
                f"{around}, which holds the engine folder {folder}, can be written by everybody (mode "
                f"{stat.S_IMODE(mode):04o}), who could so exchange engines, which are code; expected a "
                f"folder of yours alone: `chmod o-w {shlex.quote(str(around))}`, or give another --engine-dir"
            )


def read_own_file(path: Path, *, limit_bytes: int | None = None) -> bytes:
    """The content of a plain file that only this user can write to, never through a link.

    Args:
        path: Path in a folder that :func:`require_own_folder` accepted.
        limit_bytes: Limit of the size; at most one byte more than this is read.

    Raises:
        FileNotFoundError: It is not there.
        NotADirectoryError: The path of its folder is no folder.
        BackendError: It is a link or no plain file, others can write to it or own it, or it cannot be read.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for who writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise BackendError(
            f"{path} {what}; expected a plain file as `danet build` writes it: remove it, and build again"
        ) from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BackendError(
                f"{path} is no plain file, as `danet build` writes; remove it, and build again"
            )
        _refuse(path, status, "a file of the engine folder", "or remove it, and build again")
        return file.read() if limit_bytes is None else file.read(limit_bytes + 1)


def keep_own(descriptor: int) -> None:
    """Take the right to write from others, which a umask may have given them."""
    os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~_OTHERS_WRITE)


def _refuse(path: Path, status: os.stat_result, what: str, instead: str) -> None:
    user = os.geteuid()
    quoted = shlex.quote(str(path))
    if status.st_uid not in (user, _ROOT):
        raise BackendError(
            f"{path} belongs to user {status.st_uid}, who could change it; expected {what} to be of user "
            f"{user} (you) or root, since engines are code: look at what is in it, then `chown {user} "
            f"{quoted}`, {instead}"
        )
    if status.st_mode & _OTHERS_WRITE:
        raise BackendError(
            f"{path} can be written by others (mode {stat.S_IMODE(status.st_mode):04o}); expected {what} to "
            f"be writable by you alone, since engines are code: look at what is in it, then "
            f"`chmod go-w {quoted}`, {instead}"
        )
