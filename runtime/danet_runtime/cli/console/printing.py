"""Printing what others may have written: it is shown, and not obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from danet_runtime.cli.console.loudness import is_quiet
from danet_runtime.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console


def tell(text: str, *, err: bool = False) -> None:
    """Print one line; whatever is in it stays in it and is seen (:func:`danet_runtime.visible_text.visible`).

    Args:
        text: Text to print; it may hold names and messages from outside this program.
        err: Print to standard error instead of standard output.
    """
    typer.echo(visible(text), err=err)


def open_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console of rich's that takes text for text: no markup, no emoji codes, no control characters.

    What is printed, and each cell and title of a table, may hold names and words of others. A cell of
    several lines is made of ``rich.text.Text``. Cells of a table that are too long for the terminal go on in
    their next line; nothing is cut.

    Args:
        stderr: Print to standard error instead of standard output.
        quiet: Print nothing at all.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    class VisibleConsole(Console):
        def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has them
            for table in (one for one in objects if isinstance(one, Table)):
                for column in table.columns:
                    column.overflow = "fold"
            super().print(*objects, **options)

        def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as rich has them
            return super().render_str(visible(text), **options)

    return VisibleConsole(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)


def progress_console() -> Console:
    """A console on standard error for how far a work is; silent where the command is to be quiet."""
    return open_console(stderr=True, quiet=is_quiet())
