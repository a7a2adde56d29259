"""Processes that were started, seen from outside."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """The children of a process, those of all of its threads; threads may end meanwhile.

    The process from which the tests fork ``danet`` is none of them: it stays as long as the tests do.
    """
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return [child for child in found if "forking_danet.py" not in seen_of(child)]


def seen_of(pid: int) -> str:
    """What every user of the machine sees of a process; of one that is gone, nothing."""
    with suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        return f"{name}: {' '.join(arguments)}"
    return ""


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
