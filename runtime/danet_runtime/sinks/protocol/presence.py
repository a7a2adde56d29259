"""Whether what is being written is still what stands at its path: others may remove, move or replace it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

LOOK_EVERY_S: Final = 1.0
"""How often a sink that is given results looks."""


class Gone(NamedTuple):
    """What has become of an output.

    Attributes:
        words: Behind its path: ``was removed``.
        fate: What its content is since then: ``lost``, or ``not there any more`` where it may be elsewhere.
    """

    words: str
    fate: str = "lost"


def gone_from(path: Path, opened: os.stat_result) -> Gone | None:
    """What has become of an output.

    Args:
        path: Where it was made.
        opened: Its status, of the open file or as it was when the folder was made.

    Returns:
        Nothing where it is still there.
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
