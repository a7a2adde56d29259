"""Whether what is being written is still what stands at its path: others may remove, move or replace it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LOOK_EVERY_S: Final = 1.0
"""How often a sink that is given results looks."""


def gone_from(path: Path, opened: os.stat_result) -> str | None:
    """What has become of an output, as the end of a sentence that begins with its path.

    Args:
        path: Where it was made.
        opened: Its status, of the open file or as it was when the folder was made.

    Returns:
        Nothing where it is still there.
    """
    try:
        there = path.stat()
    except FileNotFoundError:
        return "was removed" if not opened.st_nlink else "was moved away"
    except OSError as error:
        return f"cannot be reached any more: {error.strerror or error}"
    if os.path.samestat(there, opened):
        return None
    # Some network file systems give a file another number later on.
    if (there.st_size, there.st_mtime_ns) == (opened.st_size, opened.st_mtime_ns):
        return None
    return "was replaced by another"
