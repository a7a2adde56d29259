"""Standard error that may fail: a log on a full disk or a lost terminal ends no work."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


class ForgivingText(io.TextIOWrapper):
    """Text whose writing may fail without anybody being told; what could not be written is lost."""

    def write(self, text: str) -> int:
        """Write where that is possible; the length of ``text`` in any case."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush where that is possible."""
        with suppress(OSError):
            super().flush()


@contextmanager
def forgiving_stderr() -> Iterator[None]:
    """While the block runs, what cannot be written to standard error is lost, and nothing raises for it."""
    before = sys.stderr
    buffer = getattr(before, "buffer", None)
    if buffer is None:
        yield
        return
    text = ForgivingText(buffer, before.encoding, "backslashreplace", line_buffering=True)
    sys.stderr = text
    try:
        yield
    finally:
        sys.stderr = before
        with suppress(OSError, ValueError):
            text.detach()
        for stream in (sys.stdout, before):
            _settle(stream)


def _settle(stream: TextIO) -> None:
    """Let go of what cannot be written, for which Python would exit with a code of its own."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
