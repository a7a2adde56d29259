"""The order in which people number files: ``frame2`` before ``frame10``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_NUMBER: Final = re.compile(r"([0-9]+)")


def natural_order(file: Path) -> tuple[list[tuple[str, int]], str]:
    """A key to sort by: digits count as the number that they are, all else by its characters.

    Where all numbers have as many digits it is the order of the names. Names that are the same but for zeros
    in front are told apart by their characters.
    """
    parts = _NUMBER.split(str(file))
    words, numbers = parts[::2], [*map(int, parts[1::2]), -1]
    return list(zip(words, numbers, strict=True)), str(file)
