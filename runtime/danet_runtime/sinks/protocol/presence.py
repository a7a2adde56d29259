"""Whether what is being written is still what stands at its path: others may remove, move or replace it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

LOOK_EVERY_S: Final = 1.0
"""Seconds between two looks of a sink whether its output is still at its path."""


class Gone(NamedTuple):
    """The way in which an output has gone from its path.

    Attributes:
        words: Words that follow the path in a message, such as ``was removed``.
        fate: State of the content: ``lost``, or ``not there any more`` where it may be elsewhere.
    """

    words: str
    fate: str = "lost"


def gone_from(path: Path, opened: os.stat_result) -> Gone | None:
    """Find out whether an output is still at its path, and if not, why.

    Args:
        path: Path at which the output was made.
        opened: Status of the output: of the open file, or of the folder when it was made.

    Returns:
        ``None`` where the output is still there.
    """
    try:
        there = path.stat()
    except FileNotFoundError:
        return Gone("was removed") if not opened.st_nlink else Gone("was moved away", "not there any more")
    except OSError as error:
        return Gone(f"cannot be reached any more: {error.strerror or error}")
    if os.path.samestat(there, opened):
        return None
    # Some network file systems give a file another number later on.
    if (there.st_size, there.st_mtime_ns) == (opened.st_size, opened.st_mtime_ns):
        return None
    return Gone("was replaced by another")
