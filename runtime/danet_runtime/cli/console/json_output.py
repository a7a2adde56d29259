"""``--json -``: JSON alone on standard output, by way of a file that nobody is told of."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

_STAND_IN: Final[ContextVar[Path | None]] = ContextVar("stand-in for standard output", default=None)


@contextmanager
def json_to_stdout(command: str) -> Iterator[Path]:
    """While the block runs, print to standard error; then print what it wrote to the file.

    Args:
        command: Name of the command, which the file is named after.

    Yields:
        The file to write to, which is not there yet.
    """
    stdout, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory(prefix="danet-") as folder:
        file = Path(folder) / f"{command}.json"
        token = _STAND_IN.set(file)
        try:
            yield file
        finally:
            _STAND_IN.reset(token)
            sys.stdout = stdout
            if file.is_file():
                sys.stdout.write(file.read_text(encoding="utf-8"))
                sys.stdout.flush()


def is_stdout(path: Path) -> bool:
    """Whether a file stands for standard output, and means nothing to the user."""
    return path == _STAND_IN.get()


def named(path: Path) -> str:
    """The name by which the user knows a file that is written."""
    return "standard output" if is_stdout(path) else str(path)
