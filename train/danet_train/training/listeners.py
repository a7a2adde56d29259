"""Who is told how a run goes, and asked whether it shall end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from danet_train.training.loop import Progress
from danet_train.training.scoring import SplitScore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listeners:
    """What a run calls on its way, on every process; by default nothing, but warnings are logged.

    Attributes:
        asked_to_stop: Asked with each update and each sample of a training; when it is true on any process
            the run saves its state and ends.
        on_start: Before the first update of a training, with how many there were already.
        on_step: After each update.
        on_sample: After each validation sample of this process.
        on_score: After each evaluation of a training, with the number of updates before it and what the split
            gave.
        on_phase: Before each part of a fine-tuning with what it is, in words.
        say: With what went wrong without ending the run, a sentence: a state or the best weights could not be
            saved on the way.
    """

    asked_to_stop: Callable[[], bool] = lambda: False
    on_start: Callable[[int], None] = lambda step: None
    on_step: Callable[[Progress], None] = lambda progress: None
    on_sample: Callable[[], None] = lambda: None
    on_score: Callable[[int, SplitScore], None] = lambda step, scored: None
    on_phase: Callable[[str], None] = lambda phase: None
    say: Callable[[str], None] = _log.warning


NOBODY = Listeners()
"""Who listens where nobody is named."""
