"""DANet Edge training: model, data, training and evaluation; what leaves here is a checkpoint.

Importing this package is light; torch and OpenCV are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danet_train.checkpoint import Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint
    from danet_train.classes import CITYSCAPES, ClassTable
    from danet_train.config.sections import EvaluationConfig, Normalisation
    from danet_train.data.datasets.layouts import open_dataset
    from danet_train.data.samples.sample import Sample
    from danet_train.errors import DanetTrainError
    from danet_train.evaluation.prediction import predict
    from danet_train.explain.explanation import explain_image
    from danet_train.model.config import DANetConfig
    from danet_train.model.danet import DANet, build_model

__all__ = [
    "CITYSCAPES",
    "Checkpoint",
    "ClassTable",
    "DANet",
    "DANetConfig",
    "DanetTrainError",
    "EvaluationConfig",
    "Normalisation",
    "Sample",
    "build_model",
    "explain_image",
    "load_checkpoint",
    "open_dataset",
    "predict",
    "read_checkpoint",
    "save_checkpoint",
]

_HOMES = {
    "CITYSCAPES": "danet_train.classes",
    "Checkpoint": "danet_train.checkpoint",
    "ClassTable": "danet_train.classes",
    "DANet": "danet_train.model.danet",
    "DANetConfig": "danet_train.model.config",
    "DanetTrainError": "danet_train.errors",
    "EvaluationConfig": "danet_train.config.sections",
    "Normalisation": "danet_train.config.sections",
    "Sample": "danet_train.data.samples.sample",
    "build_model": "danet_train.model.danet",
    "explain_image": "danet_train.explain.explanation",
    "load_checkpoint": "danet_train.checkpoint",
    "open_dataset": "danet_train.data.datasets.layouts",
    "predict": "danet_train.evaluation.prediction",
    "read_checkpoint": "danet_train.checkpoint",
    "save_checkpoint": "danet_train.checkpoint",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whichever public name was asked for
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)
