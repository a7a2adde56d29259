"""Checkpoints: the files that training hands to evaluation, export and calibration.

A file of this project is a dict saved by ``torch.save``: ``format``, ``version``, ``state_dict``, ``config``,
``classes``, ``normalisation``, ``metadata``, and, where the network was fine-tuned for INT8, ``quantisation``
(``{"scales": {activation: scale}}``). Files of mmsegmentation and of DANet's authors are read too
(:mod:`danet_train.weights`), and ``pretrained:NAME`` in place of a path is a network that ships with the
package (:mod:`danet_train.pretrained`). Nothing is ever unpickled beyond tensors and plain values.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from danet_train.classes import ClassTable
from danet_train.config.sections import Normalisation
from danet_train.errors import CheckpointError
from danet_train.files.atomic import write_whole
from danet_train.model.architecture import infer_config, model_from_state
from danet_train.model.backbones.registry import DEFAULT
from danet_train.model.danet import DANet
from danet_train.pretrained.registry import SCHEME, pretrained_name
from danet_train.pretrained.weights import read_pretrained
from danet_train.quantisation.activations import quantised_activations
from danet_train.weights.foreign import read_foreign
from danet_train.weights.reading.storage import StoredWeights, read_stored

_log = logging.getLogger(__name__)

FORMAT = "danet-checkpoint"
VERSION = 1
_KEYS = {"format", "version", "state_dict", "config", "classes", "normalisation", "metadata"}
_QUANTISATION = "quantisation"
_OWN = "a checkpoint of DANet Edge"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read and checked.

    Attributes:
        model: The network, in eval mode, float32, on the CPU. ``model.config`` is its shape.
        classes: The class table; None where the file names none.
        normalisation: Normalisation of the image; mmsegmentation's where the file states none.
        metadata: Notes of the training, e.g. ``step`` and ``miou``; plain values.
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        scales: Scale of every quantised activation by its name (:mod:`danet_train.quantisation.activations`),
            each finite and positive; None where the network was not fine-tuned for INT8.
        family: Kind of the file, e.g. ``a DANet with its authors' names``.
    """

    model: DANet
    classes: ClassTable | None
    normalisation: Normalisation
    metadata: dict[str, Any]
    sha256: str
    scales: dict[str, float] | None = None
    family: str = _OWN


def save_checkpoint(
    path: Path,
    model: DANet,
    *,
    classes: ClassTable | None = None,
    normalisation: Normalisation | None = None,
    metadata: Mapping[str, Any] | None = None,
    scales: Mapping[str, float] | None = None,
) -> None:
    """Write ``model`` to ``path``, whole or not at all. The same arguments give the same bytes.

    Args:
        path: The file to write; its folder is made where it is missing.
        model: The network, in any mode, on any device.
        classes: The class table, one entry for each class of the model.
        normalisation: The normalisation that the model was trained with; None for ImageNet's.
        metadata: Notes as plain values (numbers, strings, lists, dicts).
        scales: Scale of every quantised activation, where the network was fine-tuned for INT8.

    Raises:
        CheckpointError: ``classes`` has another number of classes than the model, or ``scales`` are not those
            of the model's activations.
        WriteError: The file cannot be written.
    """
    _check_classes(classes, model.config.num_classes)
    if scales is not None:
        _check_scales(scales, model)
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
        "config": model.config.model_dump(mode="json"),
        "classes": None if classes is None else classes.model_dump(mode="json"),
        "normalisation": (normalisation or Normalisation()).model_dump(mode="json"),
        "metadata": dict(metadata or {}),
    }
    if scales is not None:
        content[_QUANTISATION] = {"scales": dict(scales)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getbuffer())


def load_checkpoint(path: Path | str) -> DANet:
    """Read the DANet of a checkpoint, in eval mode, float32, on the CPU.

    Its forward gives the logits of the sum branch at stride 8; upsampling and argmax are left to the caller.

    Raises:
        CheckpointError: See :func:`read_checkpoint`.
    """
    return read_checkpoint(path).model


def load_pretrained(name: str) -> DANet:
    """Read a DANet that ships with the package, e.g. ``camvid_r18_small``, as :func:`load_checkpoint` does.

    ``read_checkpoint(f"pretrained:{name}")`` gives its classes and normalisation too.

    Raises:
        NoCheckpointError: There is none of that name; the message lists those that are there.
        CheckpointError: Its file is damaged.
    """
    return _read_pretrained(name).model


def read_checkpoint(
    path: Path | str,
    *,
    multi_grid: tuple[int, ...] | None = None,
    align_corners: bool | None = None,
    knows_classes: bool = False,
    say: Callable[[str], None] = _log.warning,
) -> Checkpoint:
    """Read a file of this project, of mmsegmentation (0.x and 1.x) or of DANet's authors (2018 and 2020).

    ``pretrained:NAME`` is a network that ships with the package, unless a file of that very name is there.

    The architecture is read off the tensors; every tensor is accounted for.

    Args:
        path: The file, or ``pretrained:NAME``; a file's tensors stand in ``state_dict``, or are all that it
            holds.
        multi_grid: Dilations of layer4, which no tensor shows; None takes those of the file or its family.
        align_corners: Whether logits are upsampled with aligned corners, which no tensor shows either; None
            takes that of the file or its family.
        knows_classes: Whether the caller knows the classes; those that a file of another code names are then
            ignored.
        say: Called with one sentence for each part that was left out or assumed; the default logs it.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: The file is damaged, no checkpoint, of a later version, or another network.
    """
    if (name := pretrained_name(path)) is not None:
        return _read_pretrained(name, multi_grid, align_corners)
    path = Path(path)
    stored = read_stored(path)
    try:
        if "format" in stored.content:
            return _interpret(stored, multi_grid, align_corners)
        foreign = read_foreign(
            stored.content, stored.state, multi_grid=multi_grid, align_corners=align_corners
        )
        named = None if knows_classes else foreign.classes
        _check_classes(named, foreign.model.config.num_classes, "; name its own: `danet import --classes`")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    for note in (*stored.notes, *foreign.notes):
        say(f"{path}: {note}")
    return Checkpoint(
        foreign.model,
        named,
        foreign.normalisation,
        {},
        stored.sha256,
        family=foreign.family.value,
    )


def _read_pretrained(
    name: str, multi_grid: tuple[int, ...] | None = None, align_corners: bool | None = None
) -> Checkpoint:
    stored = read_pretrained(name)
    content = {"format": FORMAT, "version": VERSION, "state_dict": stored.state, **stored.content}
    try:
        return _interpret(stored._replace(content=content), multi_grid, align_corners)
    except CheckpointError as error:
        raise CheckpointError(f"{SCHEME}{name}: {error}") from error


def _interpret(
    stored: StoredWeights, multi_grid: tuple[int, ...] | None, align_corners: bool | None
) -> Checkpoint:
    content, state, sha256, _ = stored
    if content["format"] != FORMAT or content.get("version") != VERSION:
        raise CheckpointError(
            f"expected {FORMAT} version {VERSION}, got {content['format']!r} version "
            f"{content.get('version')!r}; update DANet Edge, or train again"
        )
    if set(content) - {_QUANTISATION} != _KEYS or not isinstance(content["config"], dict):
        raise CheckpointError(f"expected the keys {sorted(_KEYS)}, got {sorted(map(str, content))}")
    stated = dict(content["config"])
    backbone = stated.get("backbone", DEFAULT)
    if multi_grid is not None:
        if backbone != DEFAULT:
            raise CheckpointError(f"multi_grid is an option of the ResNet, this DANet has {backbone!r}")
        stated["multi_grid"] = multi_grid
    config = infer_config(
        state,
        backbone=backbone,
        stated=stated,
        align_corners=stated.get("align_corners") if align_corners is None else align_corners,
    )
    try:
        classes = None if content["classes"] is None else ClassTable.model_validate(content["classes"])
        normalisation = Normalisation.model_validate(content["normalisation"])
    except ValidationError as error:
        raise CheckpointError(f"classes or normalisation are damaged: {error.errors()[0]['msg']}") from error
    _check_classes(classes, config.num_classes)
    model = model_from_state(config, state)
    scales = _read_scales(content[_QUANTISATION], model) if _QUANTISATION in content else None
    return Checkpoint(model, classes, normalisation, dict(content["metadata"] or {}), sha256, scales)


def _check_classes(classes: ClassTable | None, num_classes: int, advice: str = "") -> None:
    if classes is not None and len(classes) != num_classes:
        raise CheckpointError(
            f"the model has {num_classes} classes, but the class table names {len(classes)}{advice}"
        )


def _read_scales(section: object, model: DANet) -> dict[str, float]:
    if not isinstance(section, dict) or set(section) != {"scales"} or not isinstance(section["scales"], dict):
        raise CheckpointError(f"quantisation must hold 'scales' by activation, not {section!r:.80}")
    scales: dict[str, float] = section["scales"]
    _check_scales(scales, model)
    return dict(scales)


def _check_scales(scales: Mapping[str, float], model: DANet) -> None:
    expected = [activation.name for activation in quantised_activations(model)]
    missing = [name for name in expected if name not in scales]
    unexpected = [name for name in scales if name not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"a DANet-{model.config.label} of this shape has {len(expected)} scales of activations; "
            f"missing: {missing[:4]}, unexpected: {unexpected[:4]}; run `danet train --quantize` again"
        )
    for name, scale in scales.items():
        if not isinstance(scale, float) or not math.isfinite(scale) or scale <= 0:
            raise CheckpointError(
                f"the scale of the activation {name} must be a positive number, not {scale!r}; run "
                "`danet train --quantize` again"
            )
