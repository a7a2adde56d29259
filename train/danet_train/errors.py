"""Every error that this package raises on purpose, as one tree.

DanetTrainError                  exit code 1: the work could not be done
├── CheckpointError              a file is no checkpoint of this network, or is damaged
│   └── NoCheckpointError        exit code 2: the path that was given is not there
├── DataError                    a dataset, an image or a label is missing, damaged or inconsistent
│   └── NoDatasetError           exit code 2: the folder or the split that was given is not there
├── OutOfMemoryError             the request takes more memory than there is
├── QuantisationError            a network cannot be fine-tuned for INT8, or its trained scales are damaged
├── InterruptedTrainingError     a training was asked to stop; its state is saved
├── TrainingError                training cannot go on (a loss that is not finite, a loader that died)
├── WriteError                   a file cannot be written (the disk is full)
└── UsageError                   exit code 2: the request itself makes no sense
    └── ConfigError              a configuration has an unknown key, a wrong type or an impossible value

A message holds what was expected, what came, and what to do. ``danet`` prints it without a traceback and
exits with the class's ``exit_code``.
"""

from __future__ import annotations

from typing import ClassVar


class DanetTrainError(Exception):
    """Base of all errors of this package."""

    exit_code: ClassVar[int] = 1


class CheckpointError(DanetTrainError):
    """A file is no checkpoint, is damaged, or holds another network."""


class NoCheckpointError(CheckpointError):
    """The path of a checkpoint does not exist: wrong usage, not a bad file."""

    exit_code: ClassVar[int] = 2


class DataError(DanetTrainError):
    """A dataset, an image or a label is missing, damaged or contradicts another part."""


class NoDatasetError(DataError):
    """The folder or the split of a dataset does not exist: wrong usage, not a bad dataset."""

    exit_code: ClassVar[int] = 2


class OutOfMemoryError(DanetTrainError):
    """The request takes more memory than there is."""


class QuantisationError(DanetTrainError):
    """A network cannot be fine-tuned for INT8 as asked, or its trained scales are damaged."""


class InterruptedTrainingError(DanetTrainError):
    """A training was asked to stop, and can be resumed."""


class TrainingError(DanetTrainError):
    """Training cannot go on."""


class WriteError(DanetTrainError):
    """A file cannot be written."""


class UsageError(DanetTrainError):
    """The arguments of a call contradict each other or name something that does not exist."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A configuration has an unknown key, a wrong type or an impossible value."""
