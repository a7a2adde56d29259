"""The files of a training run, and whether they may be written.

Beside the checkpoint that is asked for, ``checkpoint.pt``, stand:

- ``checkpoint.json``: the record: scores, curves, configuration.
- ``checkpoint.best.pt``: the weights of the best evaluation so far, where the run evaluates on its way
  (``loop.evaluate_every``). Written whenever there is a better one.
- ``checkpoint.state.pt``: the state that an unfinished training is resumed from. Written every
  ``loop.save_every`` steps, around each evaluation and at an interruption; removed at the end.
- ``.checkpoint.lock``: while a run is at work, so that no second one writes the same files.

``checkpoint.pt`` itself holds the weights of the last step; it and the record appear when all went well.
Each file is written whole or not at all. Where the checkpoint's own name leaves no room for what these add,
they have its beginning and a hash (:mod:`danet_train.files.names`).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danet_train.errors import UsageError
from danet_train.files.atomic import check_file_target, write_whole
from danet_train.files.names import fitting_name
from danet_train.training.config import TrainConfig
from danet_train.training.history import History

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFiles:
    """The files that a run writes, and whether it may replace others.

    Attributes:
        out: The checkpoint to write, with any suffix but ``.json``; the others stand beside it.
        overwrite: Whether the files of another run there may be replaced.
        resume: Continue from the state that an interrupted run left beside ``out``.
        tensorboard: A folder for curves and pictures, or None.
    """

    out: Path
    overwrite: bool = False
    resume: bool = False
    tensorboard: Path | None = None


def record_path(checkpoint: Path) -> Path:
    """Return the path of the JSON record of a checkpoint: ``checkpoint.pt`` -> ``checkpoint.json``."""
    return _beside(checkpoint, ".json")


def best_path(checkpoint: Path) -> Path:
    """Return the path of the best weights of a run: ``checkpoint.pt`` -> ``checkpoint.best.pt``."""
    return _beside(checkpoint, f".best{checkpoint.suffix}")


def state_path(checkpoint: Path) -> Path:
    """Return the path of the state of an unfinished run: ``checkpoint.pt`` -> ``checkpoint.state.pt``."""
    return _beside(checkpoint, f".state{checkpoint.suffix}")


def _beside(checkpoint: Path, ending: str) -> Path:
    return checkpoint.with_name(fitting_name(checkpoint.stem, ending))


def check_output(out: Path, *, overwrite: bool = False, resume: bool = False) -> None:
    """Refuse, before training, an ``out`` that cannot be written to or would replace a file.

    Args:
        out: The checkpoint to write.
        overwrite: Whether files that exist may be replaced.
        resume: Whether the run continues from the state that stands there. All files beside it are then
            the run's own, since it began only where there were none, or with ``overwrite``.

    Raises:
        UsageError: ``out`` is the path of a record or of a folder, cannot be written, or, where ``overwrite``
            is false, a file of a run exists.
    """
    if out.suffix == ".json":
        raise UsageError(
            f"{out} would be the record of the checkpoint; name the checkpoint e.g. checkpoint.pt"
        )
    own = resume and state_path(out).exists()
    for path in (state_path(out), out, record_path(out), best_path(out)):
        check_file_target(path)
        if not os.path.lexists(path) or overwrite or own:
            continue
        if path == state_path(out):
            raise UsageError(
                f"{path} is the state of an unfinished training; continue that with --resume, or begin anew "
                "with --overwrite"
            )
        raise UsageError(f"{path} exists already; give another path, or --overwrite to replace it")


@contextmanager
def reserved(out: Path) -> Iterator[None]:
    """Keep every other run away from the files of ``out`` while the block runs.

    The lock is the kernel's, on ``.checkpoint.lock`` beside ``checkpoint.pt``: it ends with the process,
    however that ends, and a lock file that stayed behind hinders nobody.

    Raises:
        UsageError: Another run holds it, or ``out`` cannot be written.
    """
    check_file_target(out)
    path = out.with_name(fitting_name(f".{out.stem}", ".lock"))
    descriptor = _locked(path, out)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # where there are no locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing leaves it to loaders forked meanwhile
        os.close(descriptor)


def _locked(path: Path, out: Path) -> int:
    """Lock the file at ``path``, and return its descriptor."""
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise UsageError(f"{path} cannot be made ({error.strerror}); give another path") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise UsageError(
                f"another run is writing {out}; wait until it ends, or give another path"
            ) from error
        except OSError as error:  # some file systems of clusters have no locks
            _logger.warning("%s cannot be locked (%s); start no second run into it", path, error.strerror)
            return descriptor
        if _stands_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # of a run that ended between the two calls, and removed it


def _stands_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def write_record(
    out: Path, config: TrainConfig, scores: dict[str, Any], seconds: float, history: History
) -> None:
    """Write the JSON record of the checkpoint ``out``.

    Args:
        out: The checkpoint.
        config: The configuration of the run.
        scores: The measured scores by name, as plain values.
        seconds: Time that the steps took.
        history: The history of the steps.

    Raises:
        WriteError: The file cannot be written.
    """
    record = {
        **scores,
        "steps": config.steps,
        "training_seconds": round(seconds, 2),
        **history.document(),
        "config": config.model_dump(mode="json"),
    }
    write_whole(record_path(out), (json.dumps(record, indent=2) + "\n").encode())
