"""The file of a segment in a folder that all users share: made by one of them alone, and known as his."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from danet_runtime.errors import DanetError, SinkError, SourceError, UsageError
from danet_runtime.sinks.shared import layout as at

_ROOT: Final = 0
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_MODE: Final = 0o600
_GROUP_MODE: Final = 0o640
# O_NONBLOCK: opening a FIFO must not wait for who writes to it.
_OPEN_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES: Final = 100


def group_id(group: str | int) -> int:
    """The number of a group.

    Raises:
        UsageError: This machine has none of that name.
    """
    if isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"this machine has no group {group!r}; `getent group` lists them") from None


def user_id(user: str | int) -> int:
    """The number of a user.

    Raises:
        UsageError: This machine has none of that name.
    """
    if isinstance(user, int):
        return user
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise UsageError(f"this machine has no user {user!r}; `getent passwd` lists them") from None


def make_segment(path: Path, size: int, header: bytes, group: int | None) -> int:
    """Make the segment and lock it; whoever has the lock is its living writer.

    It has no name until it is whole, so that nobody can stand in its way and no kill leaves a part of it; and
    it takes a name that is free, or the place of a segment of this user whose writer is gone. Nothing that
    stands at the name is written to.

    Args:
        path: Path of the segment.
        size: Size in bytes, all of which are reserved.
        header: First bytes of the segment.
        group: Who may read it beside this user; ``None``: nobody.

    Returns:
        The open file; the caller closes it.

    Raises:
        SinkError: The name is in use, belongs to somebody else, or is no segment.
        OSError: There is no room, or the like.
    """
    fd = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, _MODE)
    try:
        if group is not None:
            os.fchown(fd, -1, group)
        os.fchmod(fd, _MODE if group is None else _GROUP_MODE)  # whatever the umask is
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(fd, 0, size)  # room that is missing is missed now, and not by a mask
        write_all(fd, header, 0)
        _name(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def remove_segment(fd: int, path: Path) -> None:
    """Take a segment's name away, where it is still this segment's."""
    with suppress(OSError):
        if _is_at(fd, path):
            path.unlink()


def open_segment(path: Path, owner: int) -> int:
    """Open a segment for reading, known as what one user alone has written.

    Raises:
        FileNotFoundError: There is none.
        SourceError: It is a link or no plain file, or somebody else owns it or could write to it.
    """
    fd = _open(path, SourceError)
    try:
        refuse_foreign(path, os.fstat(fd), owner)
    except BaseException:
        os.close(fd)
        raise
    return fd


def refuse_foreign(path: Path, status: os.stat_result, owner: int) -> None:
    """Refuse what somebody else than ``owner``, or root, could have written.

    Raises:
        SourceError: It could have been written by somebody else; the message says what to do.
    """
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path} is no plain file, so no segment of danet; remove it")
    if status.st_uid not in (owner, _ROOT):
        raise SourceError(
            f"{path} belongs to user {status.st_uid}: its masks could be anything; expected one of user "
            f"{owner} or root. Where that user is to be trusted, say so: SharedMaskReader(..., owner=...)"
        )
    if status.st_mode & _OTHERS_WRITE:
        raise SourceError(
            f"{path} can be written by others than its owner (mode {stat.S_IMODE(status.st_mode):04o}): its "
            f"masks could be anything; expected {_MODE:04o} or {_GROUP_MODE:04o}, as danet makes it"
        )
    if status.st_nlink > 1:
        raise SourceError(
            f"{path} has {status.st_nlink} names, expected one: somebody linked it, perhaps from another "
            "camera's name; remove it, and start the writer again"
        )


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it at an offset.

    Raises:
        OSError: There is no room.
    """
    view = memoryview(data)
    while len(view):
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def _name(fd: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            with suppress(FileExistsError):
                # Only with a folder's number does Python ask for the file behind the link in /proc.
                os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=folder, follow_symlinks=True)
                return
            with suppress(FileNotFoundError):
                _remove_stale(path)
    finally:
        os.close(folder)
    raise SinkError(f"shared memory {path} is taken by others again and again; give another name")


def _remove_stale(path: Path) -> None:
    """Take away what a killed writer of this user has left; every writer locks it before."""
    other = _open(path, SinkError)
    try:
        status, user = os.fstat(other), os.geteuid()
        if not stat.S_ISREG(status.st_mode) or status.st_uid != user:
            what = "" if stat.S_ISREG(status.st_mode) else " and is no plain file"
            raise SinkError(
                f"shared memory {path} belongs to user {status.st_uid}{what}; expected none there, or one of "
                f"user {user} (you). It is left as it is: give another name, or have it removed"
            )
        if os.pread(other, len(at.MAGIC), 0) != at.MAGIC:
            raise SinkError(f"{path} is no segment of danet; it is left as it is: give another name")
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError(f"shared memory {path} is in use by another process; give another name") from None
        if _is_at(other, path):
            path.unlink()
    finally:
        os.close(other)


def _open(path: Path, kind: Callable[[str], DanetError]) -> int:
    try:
        return os.open(path, _OPEN_READING)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise kind(
                f"shared memory {path} is a symbolic link, which danet never makes nor follows; remove it"
            ) from None
        owner = ""
        with suppress(OSError):
            owner = f" (it belongs to user {path.lstat().st_uid})"
        raise kind(f"shared memory {path} cannot be opened: {error.strerror}{owner}") from error


def _is_at(fd: int, path: Path) -> bool:
    mine, there = os.fstat(fd), path.lstat()
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
