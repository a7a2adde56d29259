"""Standard streams: closed or failing they end no work, and words of others are no orders to a terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from danet_runtime.visible_text import visible_stream


class VisibleText(io.TextIOWrapper):
    """Text in which only rich's own sequences are orders to the terminal, and without one none is."""

    def write(self, text: str) -> int:
        """Write; the length of ``text`` before anything in it was escaped."""
        has_colors = self.isatty() or bool(os.environ.get("FORCE_COLOR"))
        super().write(visible_stream(text, has_colors=has_colors))
        return len(text)


class ForgivingText(VisibleText):
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


def open_standard_streams() -> None:
    """Open the standard streams that the process was started without (``>&-``), on /dev/null.

    The next file to be opened would get their numbers, and what is printed would land in it. Whoever closes a
    stream does not want what goes there: that is no error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = open(number, mode, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


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


@contextmanager
def visible_stdout() -> Iterator[None]:
    """While the block runs, standard output passes no orders of others on to the terminal."""
    before = sys.stdout
    buffer = getattr(before, "buffer", None)
    if buffer is None:
        yield
        return
    buffering = bool(getattr(before, "line_buffering", False))
    text = VisibleText(buffer, before.encoding, "backslashreplace", line_buffering=buffering)
    sys.stdout = text
    try:
        yield
    finally:
        sys.stdout = before
        _settle(text)
        with suppress(OSError, ValueError):
            text.detach()


def _settle(stream: TextIO) -> None:
    """Let go of what cannot be written, for which Python would exit with a code of its own."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
