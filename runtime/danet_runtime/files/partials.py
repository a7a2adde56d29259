"""Unfinished files and folders beside their places, and what is left of them when their process was killed.

Each is locked while it is written. The kernel gives the lock back when the process ends, however it ends:
what can be locked has no writer any more. A process id in the name would not tell, since ids come again, and
a time would not either, since clocks are set.

``danet_train`` and ``danet_runtime`` import no sibling, so each has this file; a test holds them equal.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from danet_runtime.files.names import MOST_NAME_BYTES, cut

_FOLDER: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_TIME: Final = re.compile(r"\d{8}T\d{6}")
_MARK_BYTES: Final = 40  # of what partials have around the name: a dot, an id, random digits, a suffix

logger = logging.getLogger(__name__)


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Make an empty file beside ``path``, of its suffix; it is removed at the end, if it is still there."""

    def make(partial: Path) -> int:
        return os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    stem, suffix = _shortened(path.stem, path.suffix), path.suffix
    partial, lock = _locked(lambda mark: path.with_name(f".{stem}.{mark}.partial{suffix}"), make)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Make an empty folder beside ``path``; what stands under its name at the end is removed."""

    def make(partial: Path) -> int:
        partial.mkdir()
        partial.chmod(0o755)
        return os.open(partial, _FOLDER)

    name = _shortened(path.name)
    partial, lock = _locked(lambda mark: path.with_name(f".{name}.{mark}.partial"), make)
    try:
        yield partial
    finally:
        _remove(partial)
        os.close(lock)


@contextmanager
def retired_folder(path: Path) -> Iterator[None]:
    """Move a folder out of the way; when the block raises it comes back, otherwise it is removed."""
    retired = path.with_name(f".{_shortened(path.name)}.{_mark()}.old")
    lock = _lock_there(path)
    try:
        path.rename(retired)
        try:
            yield
        except BaseException:
            retired.rename(path)
            raise
        doomed = retired.with_suffix(".partial")  # from here on it is never put back: see remove_dead
        retired.rename(doomed)
        _remove(doomed)
    finally:
        os.close(lock)


def discard(path: Path) -> None:
    """Remove a folder so that no half of it ever stands under its name.

    Raises:
        OSError: It cannot be moved out of the way.
    """
    doomed = path.with_name(f".{_shortened(path.name)}.{_mark()}.partial")
    lock = _lock_there(path)
    try:
        path.rename(doomed)
        _remove(doomed)
    finally:
        os.close(lock)


def remove_dead(path: Path) -> list[Path]:
    """Remove what a killed process left unfinished beside ``path``; where it had moved it away, put it back.

    A time of day in the name, as in ``report-20261121T151042Z.json``, stands for any.

    Returns:
        What was removed; each is logged.
    """
    parts = (_shortened(path.stem, path.suffix), path.suffix, _shortened(path.name))
    stem, suffix, name = (_TIME.sub(r"\\d{8}T\\d{6}", re.escape(part)) for part in parts)
    return remove_dead_in(
        path.parent,
        re.compile(rf"\.{stem}\.\w[\w-]*\.partial{suffix}|\.{name}\.\w[\w-]*\.(partial|old)"),
        path,
    )


def remove_dead_in(folder: Path, names: re.Pattern[str], home: Path | None = None) -> list[Path]:
    """Remove what killed processes left unfinished in a folder; what has a writer, or another owner, stays.

    Args:
        folder: Folder to clean; it need not exist.
        names: Pattern of the names of unfinished files and folders.
        home: Path that they are to have when finished; by default each one's own name tells it, which a
            shortened name does not.

    Returns:
        What was removed; each is logged.
    """
    removed = []
    try:
        found = [folder / entry.name for entry in os.scandir(folder) if names.fullmatch(entry.name)]
    except OSError:
        return []
    for partial in found:
        with suppress(OSError):
            if _end_unlocked(partial, home):
                removed.append(partial)
    return removed


def _locked(name: Callable[[str], Path], make: Callable[[Path], int]) -> tuple[Path, int]:
    """A new partial and the descriptor that locks it.

    Between its making and its locking it looks like one of a dead process; whoever removes one holds its
    lock, so that afterwards it is seen to be gone.
    """
    while True:
        partial = name(_mark())
        lock = make(partial)
        try:
            with suppress(OSError):  # a file system without locks: nobody will take it for dead either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(lock, partial):
                return partial, lock
        except BaseException:
            _remove(partial)
            os.close(lock)
            raise
        os.close(lock)


def _shortened(name: str, suffix: str = "") -> str:
    """The name, or its beginning and a hash of it where there is no room beside it for what partials add."""
    return cut(name, MOST_NAME_BYTES - _MARK_BYTES - len(os.fsencode(suffix)))


def _mark() -> str:
    return f"{os.getpid()}-{secrets.token_hex(4)}"


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _lock_there(folder: Path) -> int:
    """The descriptor that locks a folder, so that it is not taken for a dead process's when it is moved."""
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _end_unlocked(partial: Path, home: Path | None) -> bool:
    """Remove, or put back, what has no writer; whether it was removed."""
    is_folder = stat.S_ISDIR(partial.lstat().st_mode)
    lock = os.open(partial, _FOLDER if is_folder else _FILE)
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: it has a writer
        if not _is_at(lock, partial):
            return False  # finished in this moment, or removed by another
        told = partial.name[1:].rsplit(".", 2)[0]
        if home is None or _shortened(home.name) == home.name:
            home = partial.with_name(told)
        if partial.suffix == ".old" and not os.path.lexists(home):
            partial.rename(home)
            logger.warning("%s was put back: a process that was killed had moved it away", home)
            return False
        _remove(partial)
    finally:
        os.close(lock)
    if os.path.lexists(partial):
        return False
    logger.warning("%s is removed: a process that was killed had not finished it", partial)
    return True


def _remove(path: Path) -> None:
    """Remove a file or folder; one that cannot be removed is left for the next start."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
