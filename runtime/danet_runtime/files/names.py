"""Names of files that are made of another's, and must fit beside it.

``danet_train`` and ``danet_runtime`` import no sibling, so each has this file; a test holds them equal.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

MOST_NAME_BYTES: Final = 255
"""Longest name of a file on Linux's file systems."""


def fitting_name(stem: str, ending: str) -> str:
    """The name of a file that is made of another's, with the stem cut where it would be too long."""
    return cut(stem, MOST_NAME_BYTES - len(os.fsencode(ending))) + ending


def cut(stem: str, room: int) -> str:
    """A part of a name in at most ``room`` bytes: as it is, or its beginning and a hash.

    The hash keeps two long ones apart.
    """
    stored = os.fsencode(stem)
    if len(stored) <= room:
        return stem
    ending = f"~{hashlib.sha256(stored).hexdigest()[:16]}"
    end = max(0, room - len(ending))
    while end and stored[end] & 0xC0 == 0x80:  # inside a character of UTF-8, half of which nothing can print
        end -= 1
    return os.fsdecode(stored[:end]) + ending
