"""A training run from data to its files (:mod:`danet_train.training.outputs`), and its continuation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from danet_train.checkpoint import save_checkpoint
from danet_train.data.batches import naming_lost_workers
from danet_train.data.samples.sample import Splits
from danet_train.errors import InterruptedTrainingError, TrainingError, UsageError, WriteError
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.evaluation.scoring import check_splits_agree, scores_of
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import ALONE, World, joined
from danet_train.training.history import History
from danet_train.training.learner import Learner
from danet_train.training.listeners import NOBODY, Listeners
from danet_train.training.loop import Progress, make_learner, prepare, training_steps
from danet_train.training.monitor import (
    Monitor,
    TensorBoardMonitor,
    check_tensorboard,
    forget_curves,
)
from danet_train.training.outputs import (
    RunFiles,
    best_path,
    check_output,
    reserved,
    state_path,
    write_record,
)
from danet_train.training.scoring import score_split
from danet_train.training.state import Resumed, load_state, save_state


def train_to_file(
    config: TrainConfig,
    splits: Splits,
    files: RunFiles,
    *,
    world: World = ALONE,
    listeners: Listeners = NOBODY,
) -> tuple[ConfusionMatrix, float]:
    """Train, evaluate, and write ``files.out`` and its JSON record; both appear only when all went well.

    Evaluations on the way change nothing of what is trained: the weights are those of a run without them.
    So are those of a run that was interrupted and resumed, on a CPU bit for bit.

    Args:
        config: The configuration of the run.
        splits: The training split and the validation split.
        files: The checkpoint to write and what stands beside it (:mod:`danet_train.training.outputs`).
        world: The processes that train together, each of which calls this.
        listeners: Callbacks for progress, scores and warnings, and whether to stop.

    Returns:
        The counts on the validation split after the last step, and the seconds that the steps took.

    Raises:
        UsageError: :func:`check_output` refuses the files; another run writes the same files; TensorBoard is
            asked for and not there.
        DataError: The classes of the two splits differ.
        InterruptedTrainingError: It was asked to stop.
        TrainingError: A process that loads died, or a file at the end could not be written.
        DanetTrainError: See :func:`danet_train.training.loop.train_model`, and on ``resume``
            :func:`danet_train.training.state.load_state`.
    """
    out, resume, tensorboard = files.out, files.resume, files.tensorboard
    with reserved(out) if world.is_main else nullcontext():
        if world.is_main:
            check_output(out, overwrite=files.overwrite, resume=resume)
            if tensorboard is not None:
                check_tensorboard(tensorboard, overwrite=files.overwrite, resume=resume)
        check_splits_agree(splits.train.classes, splits.val.classes)
        device = prepare(config, splits.train, world)
        with joined(world, device):
            learner = make_learner(config, len(splits.train.classes), device, world, fresh=not resume)
            start = Resumed(0, History(), None, 0.0)
            if resume:
                start = load_state(state_path(out), config, splits, learner, world)
            elif world.is_main:
                for path in (best_path(out), state_path(out)):
                    path.unlink(missing_ok=True)  # of another run
            run = _Run(config, splits, out, learner, world, listeners, start)
            with naming_lost_workers(run.way_on):
                if tensorboard is None or not world.is_main:
                    return run.finish(Monitor())
                if not resume:
                    forget_curves(tensorboard)
                with TensorBoardMonitor(tensorboard, splits.val, config, first=start.step) as monitor:
                    return run.finish(monitor)


@dataclass
class _Run:
    """Runs the steps that are left; saves and scores between them."""

    config: TrainConfig
    splits: Splits
    out: Path
    learner: Learner
    world: World
    listeners: Listeners
    start: Resumed

    def __post_init__(self) -> None:
        self._history, self._seconds = self.start.history, self.start.seconds
        self._matrix = ConfusionMatrix(len(self.splits.val.classes))
        self._saved_step = self.start.step
        """The number of steps of the saved state; 0 where there is none."""
        self._saving_fails = False

    def way_on(self) -> str:
        """Return how a run that ends now is continued, to be added to a message."""
        if not self._saved_step:
            return "; no state was saved before, so begin anew"
        return (
            f"; to continue after step {self._saved_step} of {self.config.steps}, give the same command "
            f"with --resume (the state is {state_path(self.out)})"
        )

    def finish(self, monitor: Monitor) -> tuple[ConfusionMatrix, float]:
        """Run the steps, and write the checkpoint and the record."""
        config, first = self.config, self.start.step
        self.listeners.on_start(first)
        if first and self._is_due(first) and first not in [score.step for score in self._history.scores]:
            self._score(first, monitor)
        stream = training_steps(
            self.learner,
            config,
            self.splits.train,
            self.world,
            first=first,
            generators=self.start.generators,
            asked_to_stop=self.listeners.asked_to_stop,
        )
        with closing(stream):
            self._follow(stream, monitor)
        if self.world.is_main:
            self._write_results()
        return self._matrix, self._seconds

    def _follow(self, stream: Iterator[Progress], monitor: Monitor) -> None:
        """Save and score between the steps."""
        config, started = self.config, time.perf_counter()
        for progress in stream:
            self._seconds += time.perf_counter() - started
            self._history.note(progress)
            self.listeners.on_step(progress)
            monitor.note(progress, self._history.skipped)
            due = self._is_due(progress.step)
            if progress.stop:
                self._save_state()
                self._interrupt()
            if due or progress.step % config.loop.save_every == 0:
                self._try_to_save_state()
            if due:
                self._score(progress.step, monitor)
                if progress.step < config.steps:
                    self._try_to_save_state()  # with its scores
            started = time.perf_counter()

    def _write_results(self) -> None:
        scores = scores_of(self._matrix, self.splits.val.classes)
        try:
            self._save(self.out)
            write_record(self.out, self.config, scores, self._seconds, self._history)
        except (UsageError, WriteError) as error:
            raise TrainingError(f"after the last step {error}{self.way_on()}") from error
        state_path(self.out).unlink(missing_ok=True)

    def _is_due(self, step: int) -> bool:
        every = self.config.loop.evaluate_every
        return step == self.config.steps or (every is not None and step % every == 0)

    def _score(self, step: int, monitor: Monitor) -> None:
        scored = score_split(
            self.learner.model,
            self.splits.val,
            self.config,
            self.world,
            on_sample=self.listeners.on_sample,
            asked_to_stop=self.listeners.asked_to_stop,
        )
        if scored is None:  # the state was saved before, and the evaluation is made again
            self._interrupt()
        self._matrix = scored.matrix
        is_best = self._history.score(*scored)
        on_the_way = self.config.loop.evaluate_every is not None or len(self._history.scores) > 1
        if is_best and on_the_way and self.world.is_main:
            self._save_best(step)
        monitor.score(step, scored.matrix, self.learner.model)
        self.listeners.on_score(step, scored)

    def _save_best(self, step: int) -> None:
        try:
            self._save(best_path(self.out))
        except (UsageError, WriteError) as error:
            self.listeners.say(f"step {step} gave the best weights so far, which are lost: {error}")

    def _save(self, path: Path) -> None:
        save_checkpoint(
            path,
            self.learner.model,
            classes=self.splits.train.classes,
            normalisation=self.config.normalisation,
            metadata={
                "step": len(self._history.losses),
                "seed": self.config.seed,
                **scores_of(self._matrix, self.splits.val.classes),
            },
        )

    def _try_to_save_state(self) -> None:
        """Save the state; a failure is reported once and does not end the run: the next may succeed."""
        try:
            self._save_state()
        except TrainingError as error:
            if not self._saving_fails:
                self.listeners.say(f"{error}; the training goes on, and it is tried again")
            self._saving_fails = True
        else:
            self._saving_fails = False

    def _save_state(self) -> None:
        step = len(self._history.losses)
        try:
            save_state(
                state_path(self.out),
                self.config,
                self.splits,
                self.learner,
                self._history,
                self._seconds,
                self.world,
            )
        except (UsageError, WriteError) as error:
            raise TrainingError(f"after step {step} {error}{self.way_on()}") from error
        self._saved_step = step

    def _interrupt(self) -> NoReturn:
        raise InterruptedTrainingError(
            f"interrupted after step {len(self._history.losses)} of {self.config.steps}{self.way_on()}"
        )
