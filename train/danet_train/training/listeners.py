"""Callbacks of a run: for its progress, and to ask whether it shall stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from danet_train.training.loop import Progress
from danet_train.training.scoring import SplitScore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listeners:
    """The callbacks of a run, on every process; by default they do nothing, and warnings are logged.

    Attributes:
        asked_to_stop: Called at each step and each sample of a training; when it is true on any process the
            run saves its state and ends.
        on_start: Called before the first step of a training, with the number of steps before.
        on_step: Called after each step.
        on_sample: Called after each validation sample of this process.
        on_score: Called after each evaluation of a training, with the number of steps before it and the
            scores of the split.
        on_phase: Called before each part of a fine-tuning, with its name.
        say: Called with a warning, one sentence: a state or the best weights could not be saved on the way.
    """

    asked_to_stop: Callable[[], bool] = lambda: False
    on_start: Callable[[int], None] = lambda step: None
    on_step: Callable[[Progress], None] = lambda progress: None
    on_sample: Callable[[], None] = lambda: None
    on_score: Callable[[int, SplitScore], None] = lambda step, scored: None
    on_phase: Callable[[str], None] = lambda phase: None
    say: Callable[[str], None] = _log.warning


NOBODY = Listeners()
"""The listeners of a run that is given none."""
