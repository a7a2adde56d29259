"""A training run from data to its files (:mod:`danet_train.training.outputs`), and its continuation."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from danet_train.checkpoint import save_checkpoint
from danet_train.data.sample import Dataset
from danet_train.errors import InterruptedTrainingError
from danet_train.evaluation.scoring import check_splits_agree, scores_of
from danet_train.metrics import ConfusionMatrix
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import ALONE, World, joined
from danet_train.training.history import History
from danet_train.training.learner import Learner
from danet_train.training.loop import Progress, make_learner, prepare, updates
from danet_train.training.monitor import (
    Monitor,
    TensorBoardMonitor,
    check_tensorboard,
    forget_curves,
)
from danet_train.training.outputs import best_path, check_output, reserved, state_path, write_record
from danet_train.training.scoring import SplitScore, score_split
from danet_train.training.state import Resumed, load_state, save_state


class Listeners(NamedTuple):
    """Who is told how a run goes, as :func:`train_to_file` says."""

    on_start: Callable[[int], None]
    on_step: Callable[[Progress], None]
    on_sample: Callable[[], None]
    on_score: Callable[[int, SplitScore], None]


def train_to_file(
    config: TrainConfig,
    train: Dataset,
    val: Dataset,
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    tensorboard: Path | None = None,
    world: World = ALONE,
    asked_to_stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[int], None] = lambda step: None,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_sample: Callable[[], None] = lambda: None,
    on_score: Callable[[int, SplitScore], None] = lambda step, scored: None,
) -> tuple[ConfusionMatrix, float]:
    """Train, evaluate, and write ``out`` and its JSON record; both appear only when all went well.

    Evaluations on the way change nothing of what is trained: the weights are those of a run without them.
    So are those of a run that was interrupted and resumed, on a CPU bit for bit.

    Args:
        config: Of the run.
        train: The split to learn from.
        val: The split to score on.
        out: The checkpoint to write, with any suffix but ``.json``. What stands beside it:
            :mod:`danet_train.training.outputs`.
        overwrite: Whether the files of another run there may be replaced.
        resume: Continue from the state that an interrupted run left beside ``out``.
        tensorboard: A folder for curves and pictures, or None.
        world: The processes that train together, each of which calls this.
        asked_to_stop: Asked with each update and each sample; when it is true on any process the run saves
            its state and ends.
        on_start: Called before the first update, with how many there were already; this and the others on
            every process.
        on_step: Called after each update.
        on_sample: Called after each validation sample of this process.
        on_score: Called after each evaluation, with the number of updates before it and what the split gave.

    Returns:
        The counts on ``val`` after the last update, and the seconds that the updates took.

    Raises:
        UsageError: As :func:`check_output` before training; another run writes the same files; TensorBoard is
            asked for and not there.
        DataError: The classes of the two splits differ.
        InterruptedTrainingError: It was asked to stop.
        DanetTrainError: As :func:`danet_train.training.loop.train_model`; on ``resume`` as
            :func:`danet_train.training.state.load_state`.
    """
    with reserved(out) if world.is_main else nullcontext():
        if world.is_main:
            check_output(out, overwrite=overwrite, resume=resume)
            if tensorboard is not None:
                check_tensorboard(tensorboard, overwrite=overwrite, resume=resume)
        check_splits_agree(train.classes, val.classes)
        device = prepare(config, train, world)
        with joined(world, device):
            learner = make_learner(config, len(train.classes), device, world, fresh=not resume)
            start = Resumed(0, History(), None, 0.0)
            if resume:
                start = load_state(state_path(out), config, train, val, learner, world)
            elif world.is_main:
                for path in (best_path(out), state_path(out)):
                    path.unlink(missing_ok=True)  # of another run
            run = _Run(
                config=config,
                train=train,
                val=val,
                out=out,
                learner=learner,
                world=world,
                asked_to_stop=asked_to_stop,
                listeners=Listeners(on_start, on_step, on_sample, on_score),
                start=start,
            )
            if tensorboard is None or not world.is_main:
                return run.finish(Monitor())
            if not resume:
                forget_curves(tensorboard)
            with TensorBoardMonitor(tensorboard, val, config, first=start.step) as monitor:
                return run.finish(monitor)


@dataclass
class _Run:
    """The updates that are left, and what happens between them."""

    config: TrainConfig
    train: Dataset
    val: Dataset
    out: Path
    learner: Learner
    world: World
    asked_to_stop: Callable[[], bool]
    listeners: Listeners
    start: Resumed

    def __post_init__(self) -> None:
        self._history, self._seconds = self.start.history, self.start.seconds
        self._matrix = ConfusionMatrix(len(self.val.classes))

    def finish(self, monitor: Monitor) -> tuple[ConfusionMatrix, float]:
        """Make the updates, and write what comes of them."""
        config, first = self.config, self.start.step
        self.listeners.on_start(first)
        if first and self._is_due(first) and first not in [score.step for score in self._history.scores]:
            self._score(first, monitor)
        stream = updates(
            self.learner,
            config,
            self.train,
            self.world,
            first=first,
            generators=self.start.generators,
            asked_to_stop=self.asked_to_stop,
        )
        started = time.perf_counter()
        for progress in stream:
            self._seconds += time.perf_counter() - started
            self._history.note(progress)
            self.listeners.on_step(progress)
            monitor.note(progress, self._history.skipped)
            due = self._is_due(progress.step)
            if due or progress.stop or progress.step % config.loop.save_every == 0:
                self._save_state()
            if progress.stop:
                self._interrupt()
            if due:
                self._score(progress.step, monitor)
                if progress.step < config.steps:
                    self._save_state()  # with its scores
            started = time.perf_counter()
        if self.world.is_main:
            scores = scores_of(self._matrix, self.val.classes)
            self._save(self.out)
            write_record(self.out, config, scores, self._seconds, self._history)
            state_path(self.out).unlink(missing_ok=True)
        return self._matrix, self._seconds

    def _is_due(self, step: int) -> bool:
        every = self.config.loop.evaluate_every
        return step == self.config.steps or (every is not None and step % every == 0)

    def _score(self, step: int, monitor: Monitor) -> None:
        scored = score_split(
            self.learner.model,
            self.val,
            self.config,
            self.world,
            on_sample=self.listeners.on_sample,
            asked_to_stop=self.asked_to_stop,
        )
        if scored is None:  # the state was saved before, and the evaluation is made again
            self._interrupt()
        self._matrix = scored.matrix
        is_best = self._history.score(*scored)
        if is_best and self.config.loop.evaluate_every is not None and self.world.is_main:
            self._save(best_path(self.out))
        monitor.score(step, scored.matrix, self.learner.model)
        self.listeners.on_score(step, scored)

    def _save(self, path: Path) -> None:
        save_checkpoint(
            path,
            self.learner.model,
            classes=self.train.classes,
            normalisation=self.config.normalisation,
            metadata={
                "step": len(self._history.losses),
                "seed": self.config.seed,
                **scores_of(self._matrix, self.val.classes),
            },
        )

    def _save_state(self) -> None:
        save_state(
            state_path(self.out),
            self.config,
            self.train,
            self.val,
            self.learner,
            self._history,
            self._seconds,
            self.world,
        )

    def _interrupt(self) -> NoReturn:
        raise InterruptedTrainingError(
            f"interrupted after update {len(self._history.losses)} of {self.config.steps}; to continue, give "
            f"the same command with --resume (the state is {state_path(self.out)})"
        )
