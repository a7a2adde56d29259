"""How far a work is, on a terminal and without one."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_S: Final = 10.0
"""Seconds from line to line where there is no terminal."""


class ShownProgress:
    """How far a work is: a bar with the time that is left on a terminal, a line every ten seconds elsewhere.

    Args:
        console: The console to show it on.
        what: Name of the work.
        total: Number of its parts; ``None``: not known yet.
    """

    def __init__(self, console: Console, what: str, total: int | None = None) -> None:
        self._console, self._what, self._total = console, what, total
        self._lines = not console.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        no_bar = not console.is_terminal or console.quiet  # a live bar takes what others print
        self._bar = Progress(*columns, console=console, transient=True, disable=no_bar)
        self._task = self._bar.add_task(what, total=total)
        self._since = self._last = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> ShownProgress:
        self._bar.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int | None = None, what: str | None = None) -> None:
        """Show how many parts are done.

        Args:
            done: Their number.
            total: Number of all parts, where that has changed.
            what: Name of the work that begins now, where that is another.
        """
        now = time.monotonic()
        if what not in (None, self._what) or self._first is None or done < self._first:
            self._since, self._first = now, done
        self._what, self._total = what or self._what, total or self._total
        self._bar.update(self._task, completed=done, total=self._total, description=self._what)
        if self._lines and now - self._last >= EVERY_S:
            self._last = now
            self._console.print(self._line(done, now), soft_wrap=True)

    def _line(self, done: int, now: float) -> str:
        if not self._total:
            return f"{self._what}: {done}" if done else self._what
        line = f"{self._what}: {done} of {self._total}"
        gained = done - (self._first or 0)
        if gained > 0:
            left_s = (self._total - done) * (now - self._since) / gained
            line += f", about {words(left_s)} left"
        return line


def words(seconds: float) -> str:
    """Return a time to come in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
