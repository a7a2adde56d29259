"""Printing: what others wrote is shown and not obeyed, and standard error may fail without ending work."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import typer

from danet_runtime.visible_text import visible, visible_stream

if TYPE_CHECKING:
    from rich.console import Console


def tell(text: str, *, err: bool = False) -> None:
    """Print one line; whatever is in it stays in it and is seen (:func:`danet_runtime.visible_text.visible`).

    Args:
        text: May hold names and words of others.
        err: On standard error.
    """
    typer.echo(visible(text), err=err)


def open_console(*, stderr: bool = False) -> Console:
    """A console of rich's that takes text for text: no markup, no emoji codes, no control characters.

    What is printed, and each cell and title of a table, may hold names and words of others. A cell of
    several lines is made of ``rich.text.Text``.
    """
    from rich.console import Console
    from rich.text import Text

    class VisibleConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as rich has them
            return super().render_str(visible(text), **options)

    return VisibleConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


class VisibleText(io.TextIOWrapper):
    """Text in which only rich's own sequences are orders to the terminal, and without one none is."""

    def write(self, text: str) -> int:
        """Write; the length of ``text`` before anything in it was escaped."""
        has_colours = self.isatty() or bool(os.environ.get("FORCE_COLOR"))
        super().write(visible_stream(text, has_colours=has_colours))
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
