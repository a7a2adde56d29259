"""Checkpoints: what training hands to evaluation, export and calibration.

A file of this project is a dict saved by ``torch.save``: ``format``, ``version``, ``state_dict``, ``config``,
``classes``, ``normalisation``, ``metadata``, and, where the network was fine-tuned for INT8, ``quantisation``
(``{"scales": {activation: scale}}``). A file of mmsegmentation (``meta``, ``state_dict``) or a bare
``{"state_dict": ...}`` is read too. Nothing is ever unpickled beyond tensors and plain values.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from danet_train.architecture import infer_config, model_from_state
from danet_train.classes import ClassTable
from danet_train.errors import CheckpointError, NoCheckpointError
from danet_train.files import replacing
from danet_train.model.danet import DANet
from danet_train.normalisation import Normalisation
from danet_train.quantisation.activations import quantised_activations

FORMAT = "danet-checkpoint"
VERSION = 1
_KEYS = {"format", "version", "state_dict", "config", "classes", "normalisation", "metadata"}
_QUANTISATION = "quantisation"
_FIRST_BYTES = (
    b"PK\x03\x04",
    b"\x80",
)  # a zip archive; a pickle of protocol 2 or later: what torch.save writes
_UNREADABLE = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    MemoryError,
    AssertionError,
    ImportError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read and checked.

    Attributes:
        model: In eval mode, float32, on the CPU. ``model.config`` is its shape.
        classes: None where the file does not name them.
        normalisation: Of the image; mmsegmentation's, where the file does not say.
        metadata: Whatever training noted, e.g. ``step`` and ``miou``; plain values.
        sha256: Of the file, 64 hexadecimal digits.
        scales: Of every quantised activation by its name (:mod:`danet_train.quantisation.activations`), each
            finite and positive; None where the network was not fine-tuned for INT8.
    """

    model: DANet
    classes: ClassTable | None
    normalisation: Normalisation
    metadata: dict[str, Any]
    sha256: str
    scales: dict[str, float] | None = None


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
        path: Its folder is made where it is missing.
        model: In any mode, on any device.
        classes: One entry a class of the model.
        normalisation: That the model was trained with; None for ImageNet's.
        metadata: Plain values only (numbers, strings, lists, dicts).
        scales: Of every quantised activation, where the network was fine-tuned for INT8.

    Raises:
        CheckpointError: ``classes`` has another number of classes than the model, or ``scales`` are not those
            of the model's activations.
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
    with replacing(path) as partial:
        partial.write_bytes(buffer.getvalue())


def load_checkpoint(path: Path | str) -> DANet:
    """The DANet of a checkpoint, in eval mode, float32, on the CPU.

    Raises:
        CheckpointError: As :func:`read_checkpoint`.
    """
    return read_checkpoint(path).model


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a file of this project, of mmsegmentation, or a bare ``{"state_dict": ...}``.

    The architecture is read off the tensors; every tensor is accounted for.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: The file is damaged, no checkpoint, of a later version, or another network.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NoCheckpointError(f"{path} does not exist; give a checkpoint file") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); give a checkpoint file") from error
    content = _unpickle(path, data)
    try:
        return _interpret(content, hashlib.sha256(data).hexdigest())
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint of any network, by name: ``{"state_dict": ...}`` or the bare dict.

    Raises:
        CheckpointError: The file is missing, damaged, or holds something else.
    """
    try:
        content = _unpickle(path, path.read_bytes(), bare=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); give a checkpoint file") from error
    state: dict[str, Tensor] = content.get("state_dict", content)
    if not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} must map names to tensors; it begins with {list(state)[:4]}")
    return state


def _unpickle(path: Path, data: bytes, *, bare: bool = False) -> dict[str, Any]:
    if not data.startswith(_FIRST_BYTES):
        raise CheckpointError(
            f"{path} ({len(data)} bytes) is no checkpoint: expected a file that torch.save wrote, which "
            f"begins as a zip archive or a pickle, but it begins with {data[:12]!r}; give a checkpoint file"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about old pickles before it refuses or reads them
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if "weights_only" in str(error) and "Unsupported" in str(error):
            reason = (
                "holds Python objects besides tensors, which are not loaded because they can run code; have "
                "it saved again as {'state_dict': model.state_dict()} where it was made, or, only if you "
                "trust its origin, convert it so yourself, by torch.load with weights_only=False"
            )
        else:
            reason = "is no checkpoint, or is damaged or cut off; expected a file that torch.save wrote"
        raise CheckpointError(f"{path} ({len(data)} bytes) {reason}") from error
    if not isinstance(content, dict) or not (bare or isinstance(content.get("state_dict"), dict)):
        raise CheckpointError(
            f"{path} must hold a dict with 'state_dict', not "
            + (f"the keys {list(content)[:4]}" if isinstance(content, dict) else type(content).__name__)
        )
    return content


def _interpret(content: dict[str, Any], sha256: str) -> Checkpoint:
    state = content["state_dict"]
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"state_dict must map names to tensors, not {name!r} to {type(tensor).__name__}"
            )
    if "format" not in content:
        config = infer_config(state)
        classes = _classes_of_mmseg(content.get("meta"), config.num_classes)
        return Checkpoint(model_from_state(config, state), classes, Normalisation(), {}, sha256)

    if content["format"] != FORMAT or content.get("version") != VERSION:
        raise CheckpointError(
            f"expected {FORMAT} version {VERSION}, got {content['format']!r} version "
            f"{content.get('version')!r}; update DANet Edge, or train again"
        )
    if set(content) - {_QUANTISATION} != _KEYS or not isinstance(content["config"], dict):
        raise CheckpointError(f"expected the keys {sorted(_KEYS)}, got {sorted(map(str, content))}")
    stored = content["config"]
    grid = stored.get("multi_grid")
    config = infer_config(
        state,
        multi_grid=None if grid is None else tuple(grid),
        align_corners=stored.get("align_corners"),
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


def _classes_of_mmseg(meta: object, num_classes: int) -> ClassTable | None:
    """Mmsegmentation notes CLASSES and PALETTE (RGB) in ``meta``."""
    if not isinstance(meta, dict):
        return None
    names, colours = meta.get("CLASSES"), meta.get("PALETTE")
    if not isinstance(names, list | tuple) or not isinstance(colours, list | tuple):
        return None
    try:
        classes = ClassTable(names=tuple(names), colours=tuple(tuple(colour) for colour in colours))
    except (ValidationError, TypeError) as error:
        raise CheckpointError("meta holds CLASSES and PALETTE that are not names and RGB colours") from error
    _check_classes(classes, num_classes)
    return classes


def _check_classes(classes: ClassTable | None, num_classes: int) -> None:
    if classes is not None and len(classes) != num_classes:
        raise CheckpointError(
            f"the model has {num_classes} classes, but the class table names {len(classes)}"
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
            f"a DANet-R{model.config.depth} of this shape has {len(expected)} scales of activations; "
            f"missing: {missing[:4]}, unexpected: {unexpected[:4]}; run `danet train --quantize` again"
        )
    for name, scale in scales.items():
        if not isinstance(scale, float) or not math.isfinite(scale) or scale <= 0:
            raise CheckpointError(
                f"the scale of the activation {name} must be a positive number, not {scale!r}; run "
                "`danet train --quantize` again"
            )
