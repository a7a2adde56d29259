"""Rules for a path that is to be written: only regular files are replaced, never a device or a socket.

A link is followed: what it leads to is replaced, or made there, and the link stays. A *stream* is written
through and never replaced, so it needs no leave to: a FIFO, a character device such as ``/dev/null`` or a
terminal, and an open file of this process under its name, such as ``/dev/stdout`` or ``/dev/fd/3``, whatever
it leads to.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from pathlib import Path
from typing import Final

from danet_runtime.errors import UsageError

READER_WAIT_S: Final = 5.0
"""How long a reader of a FIFO is awaited; opening it would wait without end."""

_LOOK_S: Final = 0.02
_MOST_LINKS: Final = 40
_DESCRIPTORS: Final = re.compile(r"/proc/(?P<pid>\d+)(/task/\d+)?/fd")


def is_taken(path: Path) -> bool:
    """Whether writing to ``path`` would replace something: any entry but a stream, also a dangling link."""
    return os.path.lexists(path) and not is_stream(path)


def is_stream(path: Path) -> bool:
    """Whether ``path`` leads to what is written through."""
    if descriptor_of(path) is not None:
        return True
    mode = _mode(path)
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def check_kind(path: Path) -> None:
    """Refuse what can be neither replaced nor written through.

    Raises:
        UsageError: ``path`` leads to a socket, a disk or the like.
    """
    mode = _mode(path)
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or is_stream(path)):
        raise UsageError(f"{path} is {_kind(mode)}, which is neither replaced nor written to; give a file")


def check_seekable(path: Path) -> None:
    """Refuse all but regular files, for what is not written from beginning to end.

    Raises:
        UsageError: ``path`` leads to something else.
    """
    check_kind(path)
    if is_stream(path):
        raise UsageError(f"{path} is {_kind(_mode(path))}, not a file that can be sought in; give a file")


def followed(path: Path) -> Path:
    """Return the path that a link leads to; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def open_file(place: Path, *, overwrite: bool) -> int:
    """Open a regular file for reading and writing, empty.

    Names of outputs can be foretold, and where others may write, a link could have been planted there since
    ``place`` was looked at: it is not followed, and what was not to be replaced is not.

    Args:
        place: Path of the file, links followed already (see :func:`followed`); its folder exists.
        overwrite: Whether a file there may be replaced.

    Returns:
        A new descriptor, closed by the caller.

    Raises:
        OSError: There is a link, or a file that may not be replaced, or it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    opened = os.open(place, flags | (0 if overwrite else os.O_EXCL), 0o644)
    try:
        mode = os.fstat(opened).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EEXIST, f"it is {_kind(mode)}", str(place))
        os.ftruncate(opened, 0)
    except BaseException:
        os.close(opened)
        raise
    return opened


def open_stream(path: Path) -> int:
    """Open a stream for writing.

    Returns:
        A new descriptor, closed by the caller; writing to it waits.

    Raises:
        OSError: It cannot be opened, or it is a FIFO that nobody opens for reading within
            :data:`READER_WAIT_S`; it names ``path``.
    """
    number = descriptor_of(path)
    if number is not None:
        try:
            return os.dup(number)
        except OSError as error:
            error.filename = str(path)
            raise
    until = time.monotonic() + READER_WAIT_S
    while True:
        try:
            opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(_mode(path)):
                raise
            if time.monotonic() > until:
                words = f"nobody has opened this FIFO for reading within {READER_WAIT_S:g} s"
                raise OSError(errno.ENXIO, words, str(path)) from None
            time.sleep(_LOOK_S)
        else:
            os.set_blocking(opened, True)
            return opened


def descriptor_of(path: Path) -> int | None:
    """The open file of this process that ``path`` is a name of, as ``/dev/stdout`` is of 1."""
    for _ in range(_MOST_LINKS):
        parent = os.path.realpath(path.parent)
        match = _DESCRIPTORS.fullmatch(parent)
        if match is not None and int(match["pid"]) == os.getpid() and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(parent) / path.readlink()
    return None


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISFIFO, "a FIFO or pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a device"),
    )
    return next((words for holds, words in kinds if holds(mode)), "an open file of this process")
