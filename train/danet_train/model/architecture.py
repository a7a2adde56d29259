"""Read the shape of a DANet off the tensors of its state dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from danet_train.errors import CheckpointError, ConfigError
from danet_train.model.backbones.backbone import StoredTensors
from danet_train.model.backbones.registry import DEFAULT, find_backbone
from danet_train.model.config import DANetConfig, make_config
from danet_train.model.danet import DANet

_SHOWN = 4


def infer_config(
    state: Mapping[str, Tensor],
    *,
    backbone: str = DEFAULT,
    stated: Mapping[str, Any] | None = None,
    align_corners: bool | None = None,
    own_name: Callable[[str], str] = str,
) -> DANetConfig:
    """Return the config of the DANet that ``state`` belongs to.

    Widths, classes, the branches and heads that exist, and most options of the backbone are read off names
    and shapes.

    Args:
        state: Tensors by mmsegmentation's names.
        backbone: Name of the backbone, which no shape shows.
        stated: Options of the backbone that no shape shows, for example ``multi_grid`` of a ResNet; an option
            that is left out has its default.
        align_corners: Whether logits are upsampled with aligned corners, which no shape shows either.
        own_name: Maps a name to that in the file itself, for messages.

    Raises:
        CheckpointError: ``state`` is not a DANet's.
    """
    tensors = StoredTensors(state, own_name)
    pam = tensors.has("decode_head.pam")
    cam = tensors.has("decode_head.cam")
    branch = "pam_in_conv" if pam else "cam_in_conv" if cam else "convs.0"
    aux = "auxiliary_head.convs.0.conv.weight" if tensors.has("auxiliary_head.") else None
    try:
        return make_config(
            "the tensors of the checkpoint",
            backbone=backbone,
            **find_backbone(backbone).read_options(tensors, stated or {}),
            num_classes=tensors.width("decode_head.conv_seg.weight"),
            head_channels=tensors.width(f"decode_head.{branch}.conv.weight"),
            attention_channels=tensors.width("decode_head.pam.query_project.weight") if pam else 64,
            aux_channels=None if aux is None else tensors.width(aux),
            pam=pam,
            cam=cam,
            align_corners=align_corners,
        )
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def model_from_state(
    config: DANetConfig, state: Mapping[str, Tensor], own_name: Callable[[str], str] = str
) -> DANet:
    """Return a DANet of ``config`` that holds ``state``, in eval mode, float32.

    Args:
        config: The config that :func:`infer_config` read.
        state: Tensors by mmsegmentation's names.
        own_name: Maps a name to that in the file itself, for messages.

    Raises:
        CheckpointError: A tensor is missing, left over, of another shape, or not finite.
    """
    with torch.device("meta"):  # no time spent on initial weights that are replaced below
        model = DANet(config)
    loaded = accounted(state, model.state_dict(), f"a DANet-{config.label}", own_name)
    model.load_state_dict(loaded, strict=True, assign=True)
    return model.eval()


def accounted(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    what: str,
    own_name: Callable[[str], str] = str,
) -> dict[str, Tensor]:
    """Return ``state`` in the order and the types of ``expected``, every tensor accounted for.

    Args:
        state: Tensors by mmsegmentation's names.
        expected: Tensors of the network that is to hold them; only names, shapes and types are used.
        what: Name of the network, for messages.
        own_name: Maps a name to that in the file itself, for messages.

    Raises:
        CheckpointError: A tensor is missing, left over, of another shape, or not finite.
    """
    missing = [own_name(name) for name in expected if name not in state]
    unexpected = [own_name(name) for name in state if name not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"the tensors are not those of {what}: "
            + "; ".join(
                f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
                for kind, names in (("missing", missing), ("unexpected", unexpected))
                if names
            )
        )
    loaded: dict[str, Tensor] = {}
    for name, target in expected.items():
        tensor = state[name]
        if tensor.shape != target.shape:
            raise CheckpointError(
                f"{own_name(name)} must have the shape {tuple(target.shape)} in {what} of this shape, "
                f"not {tuple(tensor.shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{own_name(name)} holds values that are not finite; the training went astray"
            )
        loaded[name] = tensor.to(target.dtype)
    return loaded
