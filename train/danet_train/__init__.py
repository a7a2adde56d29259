"""DANet Edge training: model, data, training and evaluation; what leaves here is a checkpoint.

Importing this package is light; torch and OpenCV are loaded when a public name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from danet_train.checkpoint import (
        Checkpoint as Checkpoint,
        load_checkpoint as load_checkpoint,
        load_pretrained as load_pretrained,
        read_checkpoint as read_checkpoint,
        save_checkpoint as save_checkpoint,
    )
    from danet_train.classes.known import CITYSCAPES as CITYSCAPES
    from danet_train.classes.table import ClassTable as ClassTable
    from danet_train.config.sections import (
        EvaluationConfig as EvaluationConfig,
        Normalisation as Normalisation,
    )
    from danet_train.data.datasets.layouts import open_dataset as open_dataset
    from danet_train.data.samples.sample import (
        Sample as Sample,
        Splits as Splits,
    )
    from danet_train.errors import (
        CheckpointError as CheckpointError,
        ConfigError as ConfigError,
        DanetTrainError as DanetTrainError,
        DataError as DataError,
        InterruptedTrainingError as InterruptedTrainingError,
        NoCheckpointError as NoCheckpointError,
        NoDatasetError as NoDatasetError,
        OutOfMemoryError as OutOfMemoryError,
        QuantisationError as QuantisationError,
        TrainingError as TrainingError,
        UsageError as UsageError,
        WriteError as WriteError,
    )
    from danet_train.evaluation.prediction import predict as predict
    from danet_train.explain.explanation import explain_image as explain_image
    from danet_train.model.config import DANetConfig as DANetConfig
    from danet_train.model.danet import (
        DANet as DANet,
        build_model as build_model,
    )
    from danet_train.training.config import (
        TrainConfig as TrainConfig,
        read_config as read_config,
    )
    from danet_train.training.listeners import Listeners as Listeners
    from danet_train.training.loop import train_model as train_model
    from danet_train.training.outputs import RunFiles as RunFiles
    from danet_train.training.run import train_to_file as train_to_file

_HOMES: Final = {
    "CITYSCAPES": "danet_train.classes.known",
    "Checkpoint": "danet_train.checkpoint",
    "CheckpointError": "danet_train.errors",
    "ClassTable": "danet_train.classes.table",
    "ConfigError": "danet_train.errors",
    "DANet": "danet_train.model.danet",
    "DANetConfig": "danet_train.model.config",
    "DanetTrainError": "danet_train.errors",
    "DataError": "danet_train.errors",
    "EvaluationConfig": "danet_train.config.sections",
    "InterruptedTrainingError": "danet_train.errors",
    "Listeners": "danet_train.training.listeners",
    "NoCheckpointError": "danet_train.errors",
    "NoDatasetError": "danet_train.errors",
    "Normalisation": "danet_train.config.sections",
    "OutOfMemoryError": "danet_train.errors",
    "QuantisationError": "danet_train.errors",
    "RunFiles": "danet_train.training.outputs",
    "Sample": "danet_train.data.samples.sample",
    "Splits": "danet_train.data.samples.sample",
    "TrainConfig": "danet_train.training.config",
    "TrainingError": "danet_train.errors",
    "UsageError": "danet_train.errors",
    "WriteError": "danet_train.errors",
    "build_model": "danet_train.model.danet",
    "explain_image": "danet_train.explain.explanation",
    "load_checkpoint": "danet_train.checkpoint",
    "load_pretrained": "danet_train.checkpoint",
    "open_dataset": "danet_train.data.datasets.layouts",
    "predict": "danet_train.evaluation.prediction",
    "read_checkpoint": "danet_train.checkpoint",
    "read_config": "danet_train.training.config",
    "save_checkpoint": "danet_train.checkpoint",
    "train_model": "danet_train.training.loop",
    "train_to_file": "danet_train.training.run",
}

__all__ = tuple(_HOMES)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whichever public name was asked for
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
