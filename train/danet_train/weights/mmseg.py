"""Mmsegmentation's files: the classes that their ``meta`` names, and writing one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError

from danet_train.classes import ClassTable, numbered_classes
from danet_train.config.sections import Normalisation
from danet_train.errors import CheckpointError
from danet_train.files.atomic import replacing
from danet_train.model.backbones.resnet_options import ResNetOptions, layer_dilations
from danet_train.model.danet import DANet

OWN_META = "danet_edge"
"""Key of ``meta`` for settings that mmsegmentation has in its configuration: see :func:`save_mmseg`."""


class NamedClasses(NamedTuple):
    """The classes that a file names.

    Attributes:
        table: The class table; None where the file names no classes.
        notes: One sentence for each change of its palette.
    """

    table: ClassTable | None
    notes: tuple[str, ...] = ()


def classes_of_meta(meta: object) -> NamedClasses:
    """Read the classes of a file's ``meta``.

    0.x notes ``CLASSES`` and ``PALETTE`` in ``meta``, 1.x ``classes`` and ``palette`` in its
    ``dataset_meta``, 1.x before its release ``CLASSES`` and ``PALETTE`` there; colors are RGB. Names stay as
    they are, with white space around them. A palette that has not one color a class is left out: no
    training uses it.

    Raises:
        CheckpointError: They are not names and colors.
    """
    if not isinstance(meta, dict):
        return NamedClasses(None)
    names, colors = next(filter(_names_any, _stated_in(meta)), (None, None))
    if names is None:
        return NamedClasses(None)
    notes = []
    if not isinstance(colors, list | tuple) or len(colors) != len(names):
        if isinstance(colors, list | tuple):
            notes.append(
                f"left out: the palette of {len(colors)} colors, as there are {len(names)} classes; they "
                "get others"
            )
        colors = numbered_classes(len(names)).colors
    try:
        table = ClassTable(names=tuple(names), colors=tuple(tuple(color) for color in colors))
    except (ValidationError, TypeError) as error:
        raise CheckpointError(
            f"meta holds classes and a palette that are not names and RGB colors: {names[:2]}, {colors[:2]}"
        ) from error
    return NamedClasses(table, tuple(notes))


def _stated_in(meta: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield names and colors from each place where a version keeps them."""
    dataset = meta.get("dataset_meta")
    for place in (dataset, meta) if isinstance(dataset, dict) else (meta,):
        yield place.get("classes"), place.get("palette")
        yield place.get("CLASSES"), place.get("PALETTE")


def _names_any(stated: tuple[Any, Any]) -> bool:
    return isinstance(stated[0], list | tuple) and bool(stated[0])


def save_mmseg(
    path: Path, model: DANet, *, classes: ClassTable | None = None, normalisation: Normalisation | None = None
) -> None:
    """Write ``model`` as mmsegmentation's file, ``meta`` and ``state_dict``, whole or not at all.

    Its configuration, a file of its own there, has to state the rest: :func:`mmseg_settings`. The same stands
    under ``meta["danet_edge"]``, so that a round trip gives the same network.

    Args:
        path: The file to write; its folder is made where it is missing.
        model: The network, in any mode, on any device.
        classes: The class table, stored as 0.x and as 1.x does.
        normalisation: The normalisation that the model was trained with; None for ImageNet's.

    Raises:
        CheckpointError: The head has one of the two branches alone, or the backbone is no ResNet, which
            mmsegmentation's DANet has not.
    """
    config, options = model.config, _resnet_options(model)
    if config.pam != config.cam:
        raise CheckpointError(
            f"mmsegmentation's DANet has both attention branches, this one only "
            f"{'PAM' if config.pam else 'CAM'}; keep it as this project's checkpoint"
        )
    meta: dict[str, Any] = {
        OWN_META: {
            "multi_grid": None if options.multi_grid is None else list(options.multi_grid),
            "align_corners": config.align_corners,
            "normalisation": (normalisation or Normalisation()).model_dump(mode="json"),
        }
    }
    if classes is not None:
        names, colors = list(classes.names), [list(color) for color in classes.colors]
        meta |= {"CLASSES": names, "PALETTE": colors, "dataset_meta": {"classes": names, "palette": colors}}
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"meta": meta, "state_dict": state}, buffer)
    with replacing(path) as partial:
        partial.write_bytes(buffer.getvalue())


def mmseg_settings(model: DANet) -> dict[str, object]:
    """Return the settings, by key, with which mmsegmentation computes the same as ``model``.

    All other settings are as in mmsegmentation's own configuration of a DANet at stride 8.

    Raises:
        CheckpointError: The backbone is no ResNet.
    """
    config, options = model.config, _resnet_options(model)
    attentive = config.pam and config.cam
    settings: dict[str, object] = {
        "backbone.type": "ResNetV1c" if options.stem == "deep" else "ResNet",
        "backbone.depth": options.depth,
        "backbone.stem_channels": options.stem_channels,
        "backbone.base_channels": options.base_channels,
        "decode_head.type": "DAHead" if attentive else "FCNHead",
        "decode_head.in_channels": config.c4_channels,
        "decode_head.channels": config.head_channels,
        "decode_head.num_classes": config.num_classes,
    }
    if attentive:
        settings["decode_head.pam_channels"] = config.attention_channels
    else:
        settings |= {"decode_head.num_convs": 1, "decode_head.concat_input": False}
    if options.multi_grid not in (None, layer_dilations(options.depth, None)[3]):
        settings["backbone.multi_grid"] = options.multi_grid
    if config.align_corners is not None:
        settings["decode_head.align_corners"] = config.align_corners
    if config.aux_channels is None:
        settings["auxiliary_head"] = None
    else:
        settings |= {
            "auxiliary_head.in_channels": config.c3_channels,
            "auxiliary_head.channels": config.aux_channels,
            "auxiliary_head.num_classes": config.num_classes,
        }
    return settings


def _resnet_options(model: DANet) -> ResNetOptions:
    options = model.config.options
    if not isinstance(options, ResNetOptions):
        raise CheckpointError(
            f"mmsegmentation's DANet stands on a ResNet, this one on the backbone {model.config.backbone!r}; "
            "keep it as this project's checkpoint"
        )
    return options
