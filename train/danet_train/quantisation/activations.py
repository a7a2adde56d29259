"""Which tensors of a DANet an INT8 engine quantises, and who reads them quantised.

This is modelopt's placement for TensorRT, told in the network's own terms: the input of every convolution
that is wide enough, the input of the max-pooling, the skip connection of every residual sum, and one side of
the sum of the two branches. Outputs of convolutions are left to fuse with what follows; both attentions, the
heads that only train, and everything behind the classifier stay in floating point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from danet_train.model.danet import DANet

WIDE = 16
"""Channels from which a convolution gains from INT8; a narrower one needs a partner, see ``runs_on_int8``."""


@dataclass(frozen=True)
class Reader:
    """One place where a tensor is read quantised.

    Attributes:
        kind: ``convolution`` and ``pooling`` read it as their input; ``shortcut`` is the skip side of the
            residual sum of a block; ``branch`` is a side of the sum of the head's branches.
        module: Name of the convolution, of the max-pooling, of the block, or of the branch's last module.
    """

    kind: Literal["convolution", "pooling", "shortcut", "branch"]
    module: str


@dataclass(frozen=True)
class Activation:
    """A tensor that is quantised, with one scale for all who read it so.

    Attributes:
        name: ``image``, or the module whose output it is: ``backbone.layer1.0`` is what that block gives,
            ``backbone.layer1.0.conv1`` what comes of that convolution behind its ReLU, ``decode_head`` the
            sum of the branches.
        readers: At least one.
    """

    name: str
    readers: tuple[Reader, ...]


def quantised_activations(model: DANet) -> tuple[Activation, ...]:
    """The tensors of ``model`` that INT8 quantises, in the order in which they are computed."""
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    readers: dict[str, list[Reader]] = {}
    for tensor, reader, needed in _reads(model):
        if not needed or any(runs_on_int8(convolutions[name]) for name in needed):
            readers.setdefault(tensor, []).append(reader)
    return tuple(Activation(name, tuple(found)) for name, found in readers.items())


def runs_on_int8(convolution: nn.Conv2d) -> bool:
    """Whether modelopt quantises a convolution: both widths from 16 on, or one, with a multiple of 8."""
    widths = convolution.out_channels, convolution.in_channels
    if min(widths) >= WIDE:
        return True
    height, width = convolution.kernel_size
    return max(widths) >= WIDE and any(channels % 8 == 0 for channels in widths) and height == width


_Read = tuple[str, Reader, tuple[str, ...]]
"""A tensor, who reads it, and the convolutions of which one must run on INT8 for it to be read quantised."""


def _convolution(tensor: str, module: str) -> _Read:
    return tensor, Reader("convolution", module), (module,)


def _reads(model: DANet) -> Iterator[_Read]:
    tensor = "image"
    if model.backbone.has_deep_stem:
        for index in (0, 3, 6):  # each followed by its normalisation and ReLU
            yield _convolution(tensor, f"backbone.stem.{index}")
            tensor = f"backbone.stem.{index}"
    else:
        yield _convolution(tensor, "backbone.conv1")
        tensor = "backbone.conv1"
    # The pooled tensor keeps the scale: the largest of quantised values is one of them.
    yield tensor, Reader("pooling", "backbone.maxpool"), ()
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        for index, block in enumerate(getattr(model.backbone, layer)):
            name = f"backbone.{layer}.{index}"
            yield from _block_reads(tensor, name, block)
            tensor = name
    yield from _head_reads(tensor, model)


def _block_reads(tensor: str, name: str, block: nn.Module) -> Iterator[_Read]:
    last = "conv3" if hasattr(block, "conv3") else "conv2"
    shortcut, summed = tensor, [f"{name}.{last}"]
    if block.downsample is not None:
        yield _convolution(tensor, f"{name}.downsample.0")
        shortcut = f"{name}.downsample"
        summed.append(f"{name}.downsample.0")
    inner = tensor
    for convolution in ("conv1", "conv2", "conv3"):
        yield _convolution(inner, f"{name}.{convolution}")
        inner = f"{name}.{convolution}"
        if convolution == last:
            break
    yield shortcut, Reader("shortcut", name), tuple(summed)


def _head_reads(tensor: str, model: DANet) -> Iterator[_Read]:
    head = model.decode_head
    if head.pam is not None:
        yield _convolution(tensor, "decode_head.pam_in_conv.conv")
        for projection in ("query_project", "key_project", "value_project"):
            yield _convolution("decode_head.pam_in_conv", f"decode_head.pam.{projection}")
        yield _convolution("decode_head.pam", "decode_head.pam_out_conv.conv")
    if head.cam is not None:
        yield _convolution(tensor, "decode_head.cam_in_conv.conv")
        yield _convolution("decode_head.cam", "decode_head.cam_out_conv.conv")
    if head.pam is not None and head.cam is not None:
        branch = "decode_head.pam_out_conv"
        yield branch, Reader("branch", branch), (f"{branch}.conv",)
        features = "decode_head"
    elif head.pam is not None:
        features = "decode_head.pam_out_conv"
    elif head.cam is not None:
        features = "decode_head.cam_out_conv"
    else:
        yield _convolution(tensor, "decode_head.convs.0.conv")
        features = "decode_head.convs.0"
    yield _convolution(features, "decode_head.conv_seg")
