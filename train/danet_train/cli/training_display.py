"""The progress of ``danet train``: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from danet_train.cli.progress import EVERY_S, words
from danet_train.training.history import NAMED_SKIPPED
from danet_train.training.listeners import Listeners
from danet_train.training.loop import Progress as Step
from danet_train.training.scoring import SplitScore

_LINES = 10
"""Least number of lines about the steps where the output is no terminal."""
_SMOOTHING = 0.1
"""Weight of the newest step in the speed that is shown."""


class TrainingDisplay:
    """Shows the steps, their loss and speed, and the evaluations.

    Args:
        console: The console to print on.
        what: Name of the work, in a word.
        steps: Number of steps.
        batch_size: Images in a step.
        scored: Number of samples that are scored in all.
    """

    def __init__(self, console: Console, what: str, *, steps: int, batch_size: int, scored: int) -> None:
        self._console, self._what = console, what
        self._steps, self._batch_size = steps, batch_size
        self._plain = not console.is_terminal  # lines in place of the bar
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=self._plain)
        self._training = self._progress.add_task(what, total=steps, speed="")
        self._scoring = self._progress.add_task("scoring", total=scored, speed="")
        self._seconds: float | None = None
        self._since: float | None = None
        self._told = time.perf_counter()
        self._skipped: dict[str, str] = {}
        self._skips = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def listeners(self, asked_to_stop: Callable[[], bool] = lambda: False) -> Listeners:
        """Return the listeners of a run that call this display, and ``asked_to_stop``."""
        return Listeners(
            asked_to_stop=asked_to_stop,
            on_start=self.on_start,
            on_step=self.on_step,
            on_sample=self.on_sample,
            on_score=self.on_score,
            on_phase=self.on_phase,
            say=self.warn,
        )

    def on_start(self, first: int) -> None:
        """Show the start, after ``first`` steps of an earlier run."""
        if first:
            self._console.print(f"resumed after step {first} of {self._steps}")
        self._progress.update(self._training, completed=first)
        self._since = time.perf_counter()

    def on_step(self, step: Step) -> None:
        """Show a step."""
        now = time.perf_counter()
        if self._since is not None:
            newest = now - self._since
            before = newest if self._seconds is None else self._seconds
            self._seconds = before + _SMOOTHING * (newest - before)
        self._since = now
        speed = f"{self._batch_size / self._seconds:.1f} images/s" if self._seconds else ""
        loss = f"loss {step.loss:.3f}"
        self._progress.update(
            self._training, completed=step.step, description=f"{self._what}, {loss}", speed=speed
        )
        tenth = step.step * _LINES // self._steps
        if self._plain and (tenth > (step.step - 1) * _LINES // self._steps or now - self._told >= EVERY_S):
            self._told = now
            parts = (f"step {step.step} of {self._steps}", loss, speed, self._left(step.step))
            self._console.print(", ".join(part for part in parts if part))
        self._note_skipped(step)

    def _left(self, step: int) -> str:
        left_s = (self._steps - step) * (self._seconds or 0.0)
        return f"about {words(left_s)} left" if left_s else ""

    def _note_skipped(self, step: Step) -> None:
        self._skips += len(step.skipped)
        for name, why in step.skipped:
            if name not in self._skipped:
                self._skipped[name] = why
                if len(self._skipped) <= NAMED_SKIPPED:
                    self._console.print(f"left out {name}: {why}", markup=False, highlight=False)

    def on_sample(self) -> None:
        """Show that a sample was scored."""
        self._progress.advance(self._scoring)
        self._since = None  # the time of an evaluation is no time of a step

    def on_phase(self, phase: str) -> None:
        """Show that another part of the work begins."""
        self._progress.update(self._scoring, description=phase)
        if self._plain:
            self._console.print(phase)

    def on_score(self, step: int, scored: SplitScore) -> None:
        """Show the scores of the validation split."""
        without = f" without {scored.skipped} samples that cannot be read" if scored.skipped else ""
        self._console.print(f"step {step} of {self._steps}, mIoU {scored.matrix.miou:.4f}{without}")

    def warn(self, what: str) -> None:
        """Print a warning, which does not end the training."""
        self._console.print(f"warning: {what}", markup=False, highlight=False)

    def summary(self) -> str | None:
        """Return how many samples were left out, in words; None where there were none."""
        if not self._skips:
            return None
        return f"{len(self._skipped)} samples were left out, {self._skips} times: see the record"
