"""How much a command says."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_IS_QUIET: Final = ContextVar("quiet", default=False)


def is_quiet() -> bool:
    """Whether nothing but warnings and errors is to be said."""
    return _IS_QUIET.get()


@contextmanager
def silenced(quiet: bool) -> Iterator[None]:
    """While the block runs, let nothing reach standard output, where ``quiet``."""
    if not quiet:
        yield
        return
    stdout = sys.stdout
    token = _IS_QUIET.set(True)
    try:
        with pathlib.Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            sys.stdout = nowhere
            yield
    finally:
        sys.stdout = stdout
        _IS_QUIET.reset(token)
