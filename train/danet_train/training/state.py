"""The state of an unfinished training: everything that the next step depends on, in one file.

A file is a dict saved by ``torch.save`` of tensors and plain values alone: ``format``, ``version``,
``config``, ``train`` and ``val`` (the identities of the two splits), ``step``, ``learner``, ``history``,
``generators`` (one entry a process) and ``seconds``. It is read without running anything that it holds.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from danet_train.data.samples.sample import Dataset, Splits
from danet_train.errors import CheckpointError, ConfigError, DataError, NoCheckpointError
from danet_train.files.atomic import write_whole
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import World
from danet_train.training.history import History
from danet_train.training.learner import Learner
from danet_train.training.loop import Generators
from danet_train.weights.reading.storage import read_plain

_FORMAT, _VERSION = "danet-training-state", 1
_KEYS = {
    "format",
    "version",
    "config",
    "train",
    "val",
    "step",
    "learner",
    "history",
    "generators",
    "seconds",
}
_FREE = {
    "backbone_weights",  # have been read, and all weights are in the state
    "device",  # the kind that was found is compared, whatever it is called
    "in_memory",
    "loop.evaluate_every",
    "loop.save_every",
    "published",
    "quantisation",
    "workers",
}
"""Fields and whole sections that may differ when a training is resumed: the weights do not depend on them."""
_MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Resumed:
    """The state that a training continues from.

    Attributes:
        step: Number of steps that were run.
        history: The history of those steps.
        generators: States of this process's generators after them; None for a training that begins.
        seconds: Time that they took.
    """

    step: int
    history: History
    generators: Generators | None
    seconds: float


def save_state(
    path: Path,
    config: TrainConfig,
    splits: Splits,
    learner: Learner,
    history: History,
    seconds: float,
    world: World,
) -> None:
    """Write the state after the steps of ``history``, whole or not at all; all processes call this.

    Args:
        path: The file to write; rank 0 writes it.
        config: The configuration of the run.
        splits: The training split and the validation split.
        learner: The learner, after those steps.
        history: The history of the steps.
        seconds: Time that they took.
        world: The processes that train together.

    Raises:
        UsageError: The folder of ``path`` is not there any more, or cannot be written to.
        WriteError: The file cannot be written.
    """
    device = next(learner.model.parameters()).device
    generators = world.gather(Generators.now(device)._asdict())
    if not world.is_main:
        return
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "config": config.model_dump(mode="json"),
        "train": _identity(splits.train),
        "val": _identity(splits.val),
        "step": len(history.losses),
        "learner": learner.state(),
        "history": history.state(),
        "generators": generators,
        "seconds": seconds,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getbuffer())


def load_state(path: Path, config: TrainConfig, splits: Splits, learner: Learner, world: World) -> Resumed:
    """Put ``learner`` into the state of a file that :func:`save_state` wrote.

    Args:
        path: The file to read; every process reads it.
        config: The configuration of the run; the same as at its start, but for fields that the result does
            not depend on.
        splits: The training split and the validation split; the same as at its start.
        learner: The learner to change, made for ``config``.
        world: The processes that train together; as many as then.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: The file is damaged, or no state.
        ConfigError: It is of another configuration or another number of processes.
        DataError: It is of other data.
    """
    content = _read(path)
    _check_config(path, content["config"], config)
    for name, split in (("train", splits.train), ("val", splits.val)):
        _check_data(path, name, content[name], split)
    if len(content["generators"]) != world.size:
        raise ConfigError(
            f"{path} was saved by {len(content['generators'])} processes, but {world.size} would resume it; "
            "start as many as then"
        )
    device = next(learner.model.parameters()).device
    try:
        learner.load(content["learner"])
        history = History.of_state(content["history"])
        generators = Generators(**content["generators"][world.rank])
        torch.Generator().set_state(generators.cpu)
        step, seconds = int(content["step"]), float(content["seconds"])
    except _MALFORMED as error:
        raise CheckpointError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error
    if step != len(history.losses) or step > config.steps:
        raise CheckpointError(f"{path} is damaged: it states {step} steps, but holds {len(history.losses)}")
    if (generators.cuda is None) != (device.type != "cuda"):
        raise ConfigError(f"{path} was saved on another kind of device than {device.type}; resume it there")
    return Resumed(step, history, generators, seconds)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_plain(path)
    except NoCheckpointError as error:
        raise NoCheckpointError(
            f"{path} does not exist: no training was interrupted there; leave out --resume to begin one"
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is no state of a training; expected what `danet train` saves as one")
    if content.get("version") != _VERSION:
        raise CheckpointError(
            f"{path} is of version {content.get('version')!r}, expected {_VERSION}; resume it with the "
            "version of DANet Edge that began it"
        )
    if set(content) != _KEYS or not isinstance(content["generators"], list):
        raise CheckpointError(
            f"{path} is damaged: expected the keys {sorted(_KEYS)}, got {sorted(map(str, content))}"
        )
    return content


def _check_config(path: Path, saved: object, config: TrainConfig) -> None:
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path} is damaged: its config is no mapping")
    then, now = dict(_flat(saved)), dict(_flat(config.model_dump(mode="json")))
    fields = [*now, *(field for field in then if field not in now)]
    for field in fields:
        if field in _FREE or field.split(".")[0] in _FREE:
            continue
        if (field in then) != (field in now):
            raise ConfigError(
                f"{path} is of a configuration {'with' if field in then else 'without'} {field}; resume it "
                "with the version of DANet Edge that began it"
            )
        if then[field] != now[field]:
            raise ConfigError(
                f"{path} was saved with {field} {then[field]!r}, but the configuration says {now[field]!r}; "
                "resume with the configuration that the training began with"
            )


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _identity(split: Dataset) -> dict[str, Any]:
    names = "\n".join(split.names).encode()
    return {
        "samples": len(split),
        "names_sha256": hashlib.sha256(names).hexdigest(),
        "classes": list(split.classes.names),
    }


def _check_data(path: Path, name: str, saved: object, split: Dataset) -> None:
    came = _identity(split)
    if saved == came:
        return
    if not isinstance(saved, dict) or set(saved) != set(came):
        raise CheckpointError(f"{path} is damaged: it does not name its data")
    if saved["samples"] != came["samples"]:
        what = f"{saved['samples']} samples, not {came['samples']}"
    elif saved["classes"] != came["classes"]:
        what = f"{len(saved['classes'])} classes, not {len(came['classes'])}"
        for then, now in zip(saved["classes"], came["classes"], strict=False):
            if then != now:
                what = f"the class {then!r}, not {now!r}"
                break
    else:
        what = "samples of other names"
    raise DataError(
        f"{path} was saved with a {name} split of {what}; resume with the data that it began with"
    )
