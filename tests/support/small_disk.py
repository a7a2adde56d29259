"""A disk that really fills up: ``python small_disk.py KILOBYTES FOLDER KEPT COMMAND...``.

Run in mount and user namespaces of its own (:data:`WRAPPER`): a tmpfs of that size is mounted on FOLDER, the
command runs, what it has written there is copied to KEPT, and its exit code is passed on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Whether this user may mount a tmpfs in namespaces of its own."""
    if shutil.which("unshare") is None:
        return False
    try_it = ["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return subprocess.run([*NAMESPACES, *try_it], check=False, capture_output=True).returncode == 0


def on_small_disk(kilobytes: int, folder: Path, kept: Path) -> tuple[str, ...]:
    """What to start a command with, so that FOLDER is a disk of so many kilobytes for it."""
    return (*NAMESPACES, sys.executable, __file__, str(kilobytes), str(folder), str(kept))


def main(kilobytes: str, folder: str, kept: str, *command: str) -> int:
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]
    subprocess.run(["mount", *options], check=True)
    code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
    shutil.copytree(folder, kept)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
