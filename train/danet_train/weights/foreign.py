"""Read a DANet from a file that another code wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from danet_train.classes import ClassTable
from danet_train.config.sections import Normalisation
from danet_train.errors import CheckpointError
from danet_train.model.architecture import infer_config, model_from_state
from danet_train.model.backbones.resnet_options import ResNetOptions, layer_dilations
from danet_train.model.danet import DANet
from danet_train.weights.authors import translate_authors
from danet_train.weights.counters import NO_COUNTERS, has_counters, with_counters
from danet_train.weights.families import Family, recognise
from danet_train.weights.mmseg import OWN_META, classes_of_meta
from danet_train.weights.mmseg_settings import FileSettings, settings_of_meta


@dataclass(frozen=True)
class ForeignWeights:
    """The content of a file of another code.

    Attributes:
        model: The network, in eval mode, float32, on the CPU.
        family: The family of the file's names.
        classes: The class table; None where the file names no classes.
        normalisation: Normalisation of the image; ImageNet's, which both families train with, unless the file
            states another.
        notes: One sentence for each part that was left out or assumed.
    """

    model: DANet
    family: Family
    classes: ClassTable | None
    normalisation: Normalisation
    notes: tuple[str, ...]


def read_foreign(
    content: Mapping[str, Any],
    state: Mapping[str, Tensor],
    *,
    multi_grid: tuple[int, ...] | None = None,
    align_corners: bool | None = None,
) -> ForeignWeights:
    """Read the DANet of a file with mmsegmentation's or the authors' names, every tensor accounted for.

    Args:
        content: Content of the file; its ``meta`` is read.
        state: The tensors by the file's own names.
        multi_grid: Dilations of layer4, which no shape shows; None for those that the family is trained with.
        align_corners: Whether logits are upsampled with aligned corners, which no shape shows either; None
            for the setting of the file or its family.

    Raises:
        CheckpointError: The file is of neither family, holds another network, or a ResNet alone.
    """
    family = recognise(state)
    if family is Family.BACKBONE:
        raise CheckpointError(
            f"expected a DANet, but the names ({', '.join(list(state)[:3])}, ...) are those of a ResNet "
            "alone; train with it as 'backbone_weights:' in the configuration"
        )
    try:
        if family is Family.AUTHORS:
            return _authors(state, multi_grid, align_corners)
        return _mmseg(content, state, multi_grid, align_corners)
    except CheckpointError as error:
        raise CheckpointError(f"taken for {family.value}: {error}") from error


def _mmseg(
    content: Mapping[str, Any],
    state: Mapping[str, Tensor],
    multi_grid: tuple[int, ...] | None,
    align_corners: bool | None,
) -> ForeignWeights:
    meta = content.get("meta")
    own = meta.get(OWN_META) if isinstance(meta, dict) else None
    settings = _own_settings(own) if isinstance(own, dict) else settings_of_meta(meta)
    notes = [
        note
        for note in settings.notes
        if not (align_corners is not None and note.startswith("align_corners"))
        and not (multi_grid is not None and note.startswith("layer4"))
    ]
    align_corners = settings.align_corners if align_corners is None else align_corners
    if align_corners is None and not isinstance(own, dict):
        notes.append(
            "assumed: logits are upsampled by the rule of the input's size, with aligned corners for 8k + 1 "
            "(769), without for 8k; the file does not say (`danet import --align-corners` or "
            "`--no-align-corners` does)"
        )
    if not has_counters(state):
        state = with_counters(state)
        notes.append(NO_COUNTERS)
    stated = {"multi_grid": multi_grid or settings.multi_grid}
    config = infer_config(state, stated=stated, align_corners=align_corners)
    model = model_from_state(config, state)
    normalisation = settings.normalisation or Normalisation()
    classes = classes_of_meta(meta)
    return ForeignWeights(model, Family.MMSEG, classes.table, normalisation, (*notes, *classes.notes))


def _own_settings(own: Mapping[str, Any]) -> FileSettings:
    """Read the settings that this project stored in a file for mmsegmentation."""
    grid, align = own.get("multi_grid"), own.get("align_corners")
    try:
        normalisation = Normalisation.model_validate(own.get("normalisation"))
    except ValidationError as error:
        raise CheckpointError(f"the normalisation is damaged: {error.errors()[0]['msg']}") from error
    return FileSettings(align, tuple(grid) if isinstance(grid, list | tuple) else None, normalisation)


def _authors(
    stored: Mapping[str, Tensor], multi_grid: tuple[int, ...] | None, align_corners: bool | None
) -> ForeignWeights:
    state, naming, usual_grid, left_out = translate_authors(stored)
    notes = list(left_out)
    if not has_counters(state):
        state = with_counters(state)
        notes.append(NO_COUNTERS)
    config = infer_config(
        state,
        stated={"multi_grid": multi_grid or usual_grid},
        align_corners=True if align_corners is None else align_corners,
        own_name=naming.from_mmseg,
    )
    model = model_from_state(config, state, naming.from_mmseg)
    if multi_grid is None and isinstance(options := config.options, ResNetOptions):
        dilations = ",".join(map(str, layer_dilations(options.depth, options.multi_grid)[3]))
        notes.append(
            f"assumed: layer4 has the dilations {dilations}, as the authors trained a file with these "
            "tensors; no tensor shows them (`danet import --multi-grid` sets others)"
        )
    if align_corners is None:
        notes.append(
            "assumed: logits are upsampled with aligned corners, as in the authors' code "
            "(`danet import --no-align-corners` for not)"
        )
    return ForeignWeights(model, Family.AUTHORS, None, Normalisation(), tuple(notes))
