"""Reading files of a bundle's folder: plain files below it, and nothing that leads elsewhere.

A path comes from a manifest, which may be anyone's. Each folder on the way is opened from the one before and
never through a symbolic link, so nothing can be exchanged between the check and the reading. Where the
system has no such calls (Windows), each part is checked first; the hash of what was read holds there too.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from danet_runtime.errors import IntegrityError

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.sig"

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+.-]{0,127}")
_PATH_LIMIT = 512
_CHUNK_BYTES = 1 << 20
_HAS_DIR_FD = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


def path_fault(path: str) -> str | None:
    """Why a path may not stand in a manifest, or ``None`` where it may.

    Allowed are relative paths whose parts, with ``/`` between them, are of ASCII letters, digits and
    ``_ + . -``, begin with no dot and end with none. So there is no ``..``, no absolute path, no backslash,
    drive, NUL or second spelling of a name, and nothing that another file system would read as another name.
    """
    parts = path.split("/")
    if len(path) > _PATH_LIMIT or not all(_PART.fullmatch(part) and part[-1] != "." for part in parts):
        return (
            f"must be a relative path inside the bundle, of letters, digits and _ + . - (got {path[:80]!r})"
        )
    if path.lower() in (MANIFEST_NAME, SIGNATURE_NAME):
        return f"must not be the manifest or its signature (got {path!r})"
    return None


def read_inside(folder: Path, path: str, *, limit_bytes: int) -> bytes:
    """The content of one file.

    Args:
        folder: The bundle's folder; it may itself be reached through a link.
        path: Path relative to the folder, with ``/`` between the parts.
        limit_bytes: A larger file is refused without being read.

    Raises:
        FileNotFoundError: It is not there.
        IntegrityError: It leads out of the bundle, is no plain file, is too large, or cannot be read.
    """
    with _opened(folder, path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > limit_bytes:
            raise IntegrityError(f"{folder / path}: expected at most {limit_bytes} bytes, got {size}")
        return _read(folder / path, descriptor, size)


def read_exactly(folder: Path, path: str, *, size: int) -> bytes:
    """The content of one file that must have this size; see :func:`read_inside`.

    Raises:
        FileNotFoundError: It is not there.
        IntegrityError: It has another size, leads out of the bundle, is no plain file, or cannot be read.
    """
    with _opened(folder, path) as descriptor:
        _require_size(folder / path, descriptor, size)
        return _read(folder / path, descriptor, size)


def hash_exactly(folder: Path, path: str, *, size: int) -> str:
    """The SHA-256 of one file that must have this size, in constant memory; see :func:`read_exactly`.

    Raises:
        FileNotFoundError: It is not there.
        IntegrityError: It has another size, leads out of the bundle, is no plain file, or cannot be read.
    """
    digest = hashlib.sha256()
    with _opened(folder, path) as descriptor:
        _require_size(folder / path, descriptor, size)
        for chunk in _chunks(folder / path, descriptor, size):
            digest.update(chunk)
    return digest.hexdigest()


def list_files(folder: Path) -> Iterator[str]:
    """Paths of everything below a folder but folders, relative to it; links are named and not followed.

    Raises:
        IntegrityError: A folder cannot be read, so nobody knows what is in it.
    """

    def unreadable(error: OSError) -> NoReturn:
        raise IntegrityError(f"{error.filename} cannot be read: {error.strerror}; nobody knows what is in it")

    for root, folders, files in os.walk(folder, onerror=unreadable):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        folders[:] = sorted(set(folders) - set(links))
        for name in sorted(files + links):
            yield (Path(root) / name).relative_to(folder).as_posix()


@contextmanager
def _opened(folder: Path, path: str) -> Iterator[int]:
    """A descriptor of the plain file at ``path``."""
    fault = None if path in (MANIFEST_NAME, SIGNATURE_NAME) else path_fault(path)
    if fault:
        raise IntegrityError(f"{folder}: a path {fault}; it leads out of the bundle")
    try:
        descriptor = _open_parts(folder, path.split("/")) if _HAS_DIR_FD else _open_checked(folder, path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IntegrityError(f"{folder / path} cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            _refuse(folder / path)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_parts(folder: Path, parts: list[str]) -> int:
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    place = folder
    try:
        for part in parts[:-1]:
            place /= part
            inner = _open_one(place, part, at, stat.S_IFDIR, os.O_DIRECTORY)
            os.close(at)
            at = inner
        # O_NONBLOCK: where the file is exchanged for a FIFO after the look at it, opening must not wait.
        return _open_one(place / parts[-1], parts[-1], at, stat.S_IFREG, os.O_NONBLOCK)
    finally:
        os.close(at)


def _open_one(place: Path, name: str, at: int, kind: int, flags: int) -> int:
    """Look before opening: to open a device is enough to make it do something."""
    if stat.S_IFMT(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode) != kind:
        _refuse(place)
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=at)
    except FileNotFoundError:
        raise
    except OSError as error:  # ELOOP, ENOTDIR: exchanged for a link since the look at it
        raise IntegrityError(
            f"{place} cannot be opened as a plain file or folder: {error.strerror}"
        ) from error


def _open_checked(folder: Path, path: str) -> int:
    place = folder
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        place /= part
        expected = stat.S_IFREG if number == len(parts) else stat.S_IFDIR
        if stat.S_IFMT(place.lstat().st_mode) != expected:
            _refuse(place)
    return os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def _refuse(place: Path) -> NoReturn:
    try:
        mode = place.lstat().st_mode
    except OSError:
        mode = 0
    if stat.S_ISLNK(mode):
        raise IntegrityError(
            f"{place} is a symbolic link, which leads out of the bundle; copy the bundle with its own files "
            "(cp -rL, rsync -L), or export it again"
        )
    raise IntegrityError(
        f"{place}: expected plain files in plain folders, got {_kind(mode)}; copy or export again"
    )


def _kind(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a FIFO",
        stat.S_ISSOCK: "a socket",
        stat.S_ISREG: "a file",
    }
    return next((name for holds, name in kinds.items() if holds(mode)), "a device")


def _require_size(place: Path, descriptor: int, size: int) -> None:
    found = os.fstat(descriptor).st_size
    if found != size:
        raise IntegrityError(f"{place}: expected {size} bytes, got {found}; copy or export the bundle again")


def _read(place: Path, descriptor: int, size: int) -> bytes:
    return b"".join(_chunks(place, descriptor, size))


def _chunks(place: Path, descriptor: int, size: int) -> Iterator[bytes]:
    """Exactly ``size`` bytes; a file that shrinks or grows meanwhile is an error."""
    left = size
    while True:
        try:
            chunk = os.read(descriptor, min(_CHUNK_BYTES, left + 1))
        except OSError as error:
            raise IntegrityError(f"{place} cannot be read: {error.strerror}") from error
        left -= len(chunk)
        if left < 0 or (left and not chunk):
            raise IntegrityError(f"{place} changed while it was read; expected {size} bytes")
        if not chunk:
            return
        yield chunk
