"""Reading files that anybody may have written: their size and nesting are limited first."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def read_limited(path: Path, limit_bytes: int, *, plain: bool = False) -> bytes:
    """The content of a file, unless it is larger than a limit; no more than that is ever read.

    Args:
        path: The file.
        limit_bytes: Largest size that is read, also from a file that states none, such as a pipe.
        plain: Take only a plain file: no link, and nothing that could be waited for.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger, or no plain file; the message names it.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    if plain:
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor with flags
        state = os.fstat(file.fileno())
        if plain and not stat.S_ISREG(state.st_mode):
            raise ValueError(f"{path}: expected a plain file, got something else")
        size = state.st_size
        chunks = []
        left = limit_bytes + 1
        while size <= limit_bytes and left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            chunks.append(chunk)
            left -= len(chunk)
    if size > limit_bytes or not left:
        got = f"{size} bytes" if size > limit_bytes else "more"
        raise ValueError(f"{path}: expected at most {limit_bytes} bytes, got {got}")
    return b"".join(chunks)


def require_plain_json(data: bytes) -> None:
    """Refuse JSON that two readers may understand in two ways, or that costs more to read than it says.

    Raises:
        ValueError: It is no JSON, holds a key twice in one object, NaN or an infinity, is nested deeper than
            Python's recursion goes, or holds an integer of thousands of digits.
    """
    try:
        json.loads(data, object_pairs_hook=_each_key_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"the key {key[:80]!r} stands twice in one object")
        seen.add(key)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
