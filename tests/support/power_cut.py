"""A disk that forgets what was not flushed: an ext4 in a file, and what is left of it after a power cut.

The page cache of the mounted file system is what a power cut loses; what has reached the file under it
counts as on the disk. A cut is a copy of that file, taken while nothing was being written to it, whose
journal is then played back as at the next start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TOOLS = ("mkfs.ext4", "e2fsck", "losetup", "mount")


def why_not() -> str | None:
    """Why there can be no such disk here, if so."""
    if os.geteuid() != 0:
        return "mounting an image needs root"
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{missing[0]} is not installed"
    if subprocess.run(["losetup", "-f"], check=False, capture_output=True).returncode:
        return "there are no loop devices"
    return None


class ForgetfulDisk:
    """An ext4 that writes nothing by itself for minutes; a context manager.

    Attributes:
        path: Where it is mounted.
    """

    def __init__(self, megabytes: int = 64) -> None:
        in_memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
        self._folder = Path(tempfile.mkdtemp(dir=in_memory if in_memory.is_dir() else None))
        self._image = self._folder / "disk"
        self._megabytes = megabytes
        self.path = self._folder / "mounted"

    def __enter__(self) -> ForgetfulDisk:
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(self._megabytes << 20)
        _do("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._image)
        self._device = _do("losetup", "-f", "--show", self._image).strip()
        _do("mount", "-o", "commit=600", self._device, self.path)
        return self

    def __exit__(self, *_: object) -> None:
        _do("umount", self.path)
        _do("losetup", "-d", self._device)
        shutil.rmtree(self._folder)

    @contextmanager
    def after_power_cut(self) -> Iterator[Path]:
        """What would be on the disk if the power failed now, as a folder."""
        copy, mounted = self._folder / "copy", self._folder / "after"
        self._copy_still(copy)
        # 1: errors were corrected, as at a start; the journal is played back first
        assert subprocess.run(["e2fsck", "-fy", copy], check=False, capture_output=True).returncode <= 1
        mounted.mkdir(exist_ok=True)
        _do("mount", "-o", "loop,ro", copy, mounted)
        try:
            yield mounted
        finally:
            _do("umount", mounted)
            copy.unlink()

    def _copy_still(self, copy: Path) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            before = self._written()
            if before is not None:
                _copy_sparsely(self._image, copy)
                if self._written() == before:
                    return
        raise AssertionError("the disk never stood still for the time of a copy")

    def _written(self) -> str | None:
        """How much was written to the device so far; ``None`` while something is being written."""
        name = Path(self._device).name
        reads_and_writes = Path(f"/sys/block/{name}/stat").read_text().split()
        return None if int(reads_and_writes[8]) else " ".join(reads_and_writes[4:7])


def _copy_sparsely(image: Path, copy: Path) -> None:
    """Only what was ever written, so that it takes milliseconds."""
    with image.open("rb") as source, copy.open("wb") as target:
        size = os.fstat(source.fileno()).st_size
        target.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(source.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            hole = os.lseek(source.fileno(), at, os.SEEK_HOLE)
            os.pwrite(target.fileno(), os.pread(source.fileno(), hole - at, at), at)
            at = hole


def _do(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
