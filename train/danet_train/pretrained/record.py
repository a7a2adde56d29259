"""The record of a pretrained network: its shape, its classes, how it was trained, and what it scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from danet_train.classes import ClassTable
from danet_train.config.inheritance import explain
from danet_train.config.sections import Normalisation
from danet_train.errors import CheckpointError
from danet_train.files.limited import MOST_TEXT_BYTES, read_limited
from danet_train.pretrained.registry import find_pretrained

_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[int, Field(ge=1)]
_Text = Annotated[str, Field(min_length=1)]

VERSION: Final = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataFacts(_Part):
    """The data that a network was trained on.

    Attributes:
        name: Name of the data.
        origin: Who made it, and where it is published.
        licence: What it may be used for, and what that means for the weights.
        train_images: Number of images that were learned from.
    """

    name: _Text
    origin: _Text
    licence: _Text
    train_images: _Positive


class TrainingFacts(_Part):
    """The training.

    Attributes:
        recipe: Name of the packaged configuration.
        changes: Settings that differ from it, as ``key=value``.
        steps: Number of steps.
        batch_size: Crops in a step.
        seed: Seed of weights, order and augmentation.
        precision: Arithmetic of the convolutions in training.
        seconds: Time that the steps took.
        machine: The machine, in words.
    """

    recipe: _Text
    changes: tuple[str, ...]
    steps: _Positive
    batch_size: _Positive
    seed: int
    precision: _Text
    seconds: Annotated[float, Field(ge=0)]
    machine: _Text


class Scores(_Part):
    """Scores of the shipped file on the validation split, the whole image at once.

    Attributes:
        split: Name of the split.
        images: Number of its images.
        miou: Mean IoU.
        pixel_accuracy: Share of the labelled pixels that are right.
        iou: IoU by class; None where the split holds none of it.
        miou_before_rounding: Mean IoU of the checkpoint, before its weights were rounded to FP16.
        labels_kept: Share of all pixels whose label the rounding leaves as it was.
    """

    split: _Text
    images: _Positive
    miou: _Share
    pixel_accuracy: _Share
    iou: dict[str, _Share | None]
    miou_before_rounding: _Share
    labels_kept: _Share


class PretrainedRecord(_Part):
    """Everything that is known of a pretrained network beside its weights.

    Attributes:
        version: Version of this form.
        name: Name of the network, without ``pretrained:``.
        title: The network in a few words.
        sha256: SHA-256 of the file of weights.
        bytes: Size of that file.
        parameters: Number of trained values.
        size_hw: Size of the images that it was trained and scored on.
        config: The network's :class:`~danet_train.model.config.DANetConfig`, as a checkpoint holds it.
        classes: The class table.
        normalisation: Normalisation of the image.
        data: The data that it was trained on.
        training: How it was trained.
        scores: Scores of the shipped file.
        limits: What it cannot do, a sentence each.
        versions: Versions of the libraries that trained and scored it, by package.
    """

    version: Literal[1] = VERSION
    name: _Text
    title: _Text
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: _Positive
    parameters: _Positive
    size_hw: tuple[_Positive, _Positive]
    config: dict[str, Any]
    classes: ClassTable
    normalisation: Normalisation
    data: DataFacts
    training: TrainingFacts
    scores: Scores
    limits: tuple[_Text, ...] = Field(min_length=1)
    versions: dict[str, str]

    @property
    def size(self) -> str:
        """``size_hw`` as text, e.g. ``360x480``."""
        return "x".join(map(str, self.size_hw))

    def text(self) -> str:
        """Return the record as its file holds it."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def read_record(name: str, folder: Path | None = None) -> PretrainedRecord:
    """Read the record of the network ``name``; ``folder`` None is the package's own.

    Raises:
        NoCheckpointError: There is no such network; the message lists those that are there.
        CheckpointError: Its record is missing or damaged.
    """
    _, path = find_pretrained(name, folder)
    try:
        content = json.loads(read_limited(path, MOST_TEXT_BYTES))
        return PretrainedRecord.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{explain(str(path), error)}; install danet-train again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is no record of a pretrained network ({error}); install danet-train again"
        ) from error
