"""A disk that has no room for a while, as the processes that write to it see it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from danet_runtime.sinks.protocol import pause
from danet_runtime.sinks.writing import parts


class FillingDisk:
    """Refuses what is written to open files below a folder while it is full, where the kernel would.

    Outputs look for their file and try again within milliseconds, so that a schedule of a second sees both.

    Args:
        patch: Undoes it.
        folder: Whose files are meant.

    Attributes:
        is_full: Whether it has no room now.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.is_full = False
        self._folder = os.path.realpath(folder)
        self._write, self._statvfs = os.write, os.statvfs
        patch.setattr(os, "write", self._refusing)
        patch.setattr(os, "statvfs", self._room)
        patch.setattr(parts, "LOOK_EVERY_S", 0.0)
        patch.setattr(pause, "FIRST_PAUSE_S", 0.004)
        patch.setattr(pause, "MOST_PAUSE_S", 0.02)

    def _refusing(self, descriptor: int, data: bytes) -> int:
        if self.is_full and os.path.realpath(f"/proc/self/fd/{descriptor}").startswith(self._folder):
            if len(data) > 1:  # what fits goes in, as on a real one
                return self._write(descriptor, data[: len(data) // 2]) if len(data) > 64 else self._raise()
            self._raise()
        return self._write(descriptor, data)

    @staticmethod
    def _raise() -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _room(self, path: Path) -> object:
        there = self._statvfs(path)
        if not self.is_full:
            return there
        return SimpleNamespace(f_bavail=0, f_frsize=there.f_frsize, f_blocks=there.f_blocks)
