"""Reading the shape of a DANet off the tensors of its state dict."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from danet_train.errors import CheckpointError, ConfigError
from danet_train.model.config import BLOCKS_PER_LAYER, DANetConfig, has_bottlenecks, make_config
from danet_train.model.danet import DANet

_SHOWN = 4


def infer_config(
    state: Mapping[str, Tensor],
    *,
    multi_grid: tuple[int, ...] | None = None,
    align_corners: bool | None = None,
) -> DANetConfig:
    """The config of the DANet that ``state`` belongs to.

    Depth, widths, classes, stem, and which branches and heads exist are read off names and shapes.

    Args:
        state: Tensors by mmsegmentation's names.
        multi_grid: Dilations of layer4, which no shape tells; None for (2, 4, 4).
        align_corners: How logits are upsampled, which no shape tells either.

    Raises:
        CheckpointError: ``state`` is not a DANet's.
    """
    deep = "backbone.stem.0.weight" in state
    pam = "decode_head.pam.gamma.scale" in state
    cam = "decode_head.cam.gamma.scale" in state
    branch = "pam_in_conv" if pam else "cam_in_conv" if cam else "convs.0"
    bottlenecks = "backbone.layer1.0.conv3.weight" in state
    try:
        return make_config(
            "the tensors of the checkpoint",
            depth=_depth(state, bottlenecks),
            num_classes=_width(state, "decode_head.conv_seg.weight"),
            base_channels=_width(state, "backbone.layer1.0.conv1.weight"),
            stem="deep" if deep else "plain",
            stem_channels=_width(state, "backbone.stem.6.weight" if deep else "backbone.conv1.weight"),
            multi_grid=multi_grid,
            head_channels=_width(state, f"decode_head.{branch}.conv.weight"),
            attention_channels=_width(state, "decode_head.pam.query_project.weight") if pam else 64,
            aux_channels=(
                _width(state, "auxiliary_head.convs.0.conv.weight")
                if "auxiliary_head.conv_seg.weight" in state
                else None
            ),
            pam=pam,
            cam=cam,
            align_corners=align_corners,
        )
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def _width(state: Mapping[str, Tensor], name: str) -> int:
    if name not in state:
        raise CheckpointError(
            f"a DANet has a tensor {name!r}, which this file lacks; its {len(state)} tensors begin with "
            f"{', '.join(repr(key) for key in list(state)[:_SHOWN]) or 'nothing'}. Give a DANet with "
            "mmsegmentation's names"
        )
    if state[name].ndim != 4:
        raise CheckpointError(f"{name} must have 4 axes, not the shape {tuple(state[name].shape)}")
    return int(state[name].shape[0])


def _depth(state: Mapping[str, Tensor], bottlenecks: bool) -> int:
    blocks = [0, 0, 0, 0]
    for name in state:
        if match := re.match(r"backbone\.layer([1-4])\.(\d+)\.", name):
            layer = int(match[1]) - 1
            blocks[layer] = max(blocks[layer], int(match[2]) + 1)
    for depth, expected in BLOCKS_PER_LAYER.items():
        if tuple(blocks) == expected and has_bottlenecks(depth) == bottlenecks:
            return depth
    if not any(blocks):
        _width(state, "backbone.layer1.0.conv1.weight")
    raise CheckpointError(
        f"the backbone has {blocks} {'bottlenecks' if bottlenecks else 'basic blocks'} in its layers; "
        f"expected a ResNet-{', -'.join(str(depth) for depth in BLOCKS_PER_LAYER)}"
    )


def model_from_state(config: DANetConfig, state: Mapping[str, Tensor]) -> DANet:
    """A DANet of ``config`` that holds ``state``, in eval mode, float32.

    Raises:
        CheckpointError: A tensor is missing, left over, of another shape, or not finite.
    """
    with torch.device("meta"):  # no time spent on initial weights that are replaced below
        model = DANet(config)
    expected = model.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"the tensors are not those of a DANet-R{config.depth}: "
            + "; ".join(
                f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
                for what, names in (("missing", missing), ("unexpected", unexpected))
                if names
            )
        )
    loaded: dict[str, Tensor] = {}
    for name, target in expected.items():
        tensor = state[name]
        if tensor.shape != target.shape:
            raise CheckpointError(
                f"{name} must have the shape {tuple(target.shape)} in this DANet-R{config.depth}, "
                f"not {tuple(tensor.shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} holds values that are not finite; the training went astray")
        loaded[name] = tensor.to(target.dtype)
    model.load_state_dict(loaded, strict=True, assign=True)
    return model.eval()
