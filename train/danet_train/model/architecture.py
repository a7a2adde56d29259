"""Reading the shape of a DANet off the tensors of its state dict."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

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
    own_name: Callable[[str], str] = str,
) -> DANetConfig:
    """The config of the DANet that ``state`` belongs to.

    Depth, widths, classes, stem, and which branches and heads exist are read off names and shapes.

    Args:
        state: Tensors by mmsegmentation's names.
        multi_grid: Dilations of layer4, which no shape tells; None for (2, 4, 4).
        align_corners: How logits are upsampled, which no shape tells either.
        own_name: What the file itself calls a tensor, for messages.

    Raises:
        CheckpointError: ``state`` is not a DANet's.
    """

    def width(name: str) -> int:
        return _width(state, name, own_name)

    def has(prefix: str) -> bool:  # of any tensor: where another one is missing, that one is named
        return any(name.startswith(prefix) for name in state)

    deep = has("backbone.stem.")
    pam = has("decode_head.pam")
    cam = has("decode_head.cam")
    branch = "pam_in_conv" if pam else "cam_in_conv" if cam else "convs.0"
    bottlenecks = "backbone.layer1.0.conv3.weight" in state
    try:
        return make_config(
            "the tensors of the checkpoint",
            depth=_depth(state, bottlenecks, width),
            num_classes=width("decode_head.conv_seg.weight"),
            base_channels=width("backbone.layer1.0.conv1.weight"),
            stem="deep" if deep else "plain",
            stem_channels=width("backbone.stem.6.weight" if deep else "backbone.conv1.weight"),
            multi_grid=multi_grid,
            head_channels=width(f"decode_head.{branch}.conv.weight"),
            attention_channels=width("decode_head.pam.query_project.weight") if pam else 64,
            aux_channels=(width("auxiliary_head.convs.0.conv.weight") if has("auxiliary_head.") else None),
            pam=pam,
            cam=cam,
            align_corners=align_corners,
        )
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def _width(state: Mapping[str, Tensor], name: str, own_name: Callable[[str], str]) -> int:
    if name not in state:
        shown = ", ".join(repr(own_name(key)) for key in list(state)[:_SHOWN]) or "nothing"
        raise CheckpointError(
            f"a DANet has a tensor {own_name(name)!r}, which this file lacks; its {len(state)} tensors begin "
            f"with {shown}. Give a whole DANet"
        )
    if state[name].ndim != 4:
        raise CheckpointError(f"{own_name(name)} must have 4 axes, not the shape {tuple(state[name].shape)}")
    return int(state[name].shape[0])


def _depth(state: Mapping[str, Tensor], bottlenecks: bool, width: Callable[[str], int]) -> int:
    blocks = [0, 0, 0, 0]
    for name in state:
        if match := re.match(r"backbone\.layer([1-4])\.(\d+)\.", name):
            layer = int(match[1]) - 1
            blocks[layer] = max(blocks[layer], int(match[2]) + 1)
    for depth, expected in BLOCKS_PER_LAYER.items():
        if tuple(blocks) == expected and has_bottlenecks(depth) == bottlenecks:
            return depth
    if not any(blocks):
        width("backbone.layer1.0.conv1.weight")
    raise CheckpointError(
        f"the backbone has {blocks} {'bottlenecks' if bottlenecks else 'basic blocks'} in its layers; "
        f"expected a ResNet-{', -'.join(str(depth) for depth in BLOCKS_PER_LAYER)}"
    )


def model_from_state(
    config: DANetConfig, state: Mapping[str, Tensor], own_name: Callable[[str], str] = str
) -> DANet:
    """A DANet of ``config`` that holds ``state``, in eval mode, float32.

    Args:
        config: As :func:`infer_config` reads it.
        state: Tensors by mmsegmentation's names.
        own_name: What the file itself calls a tensor, for messages.

    Raises:
        CheckpointError: A tensor is missing, left over, of another shape, or not finite.
    """
    with torch.device("meta"):  # no time spent on initial weights that are replaced below
        model = DANet(config)
    loaded = accounted(state, model.state_dict(), f"a DANet-R{config.depth}", own_name)
    model.load_state_dict(loaded, strict=True, assign=True)
    return model.eval()


def accounted(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    what: str,
    own_name: Callable[[str], str] = str,
) -> dict[str, Tensor]:
    """``state`` in the order and the types of ``expected``, every tensor accounted for.

    Args:
        state: Tensors by mmsegmentation's names.
        expected: Of the network that is to hold them; only names, shapes and types are looked at.
        what: The network, for messages.
        own_name: What the file itself calls a tensor, for messages.

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
