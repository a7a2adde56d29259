"""What takes seconds to make is made by the first of pytest's processes that asks for it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that all processes of this run share and none may change.

    Args:
        factory: This process's own.
        name: The folder's, other than that of any test's.
        make: Fills the empty folder.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, unfinished = root / f"once-{name}", root / f"once-{name}-unfinished"
    with (root / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished.mkdir(exist_ok=True)  # one that could not be filled says so each time
            make(unfinished)
            unfinished.rename(folder)
    return folder
