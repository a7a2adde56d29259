"""The tensors of a DANet that an INT8 engine quantises, and the modules that read them quantised.

This is modelopt's placement for TensorRT, in the names of the network: the input of every convolution
that is wide enough, the input of the max-pooling, the skip connection of every residual sum, and one side of
the sum of the two branches. Outputs of convolutions are left to fuse with what follows; both attentions, the
heads that only train, and everything behind the classifier stay in floating point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from danet_train.errors import QuantisationError
from danet_train.model.backbones.reads import ListsReads, Read, Reader, read_by_convolution
from danet_train.model.danet import DANet

WIDE = 16
"""Channels from which a convolution gains from INT8; a narrower one needs a partner, see ``runs_on_int8``."""


@dataclass(frozen=True)
class Activation:
    """A tensor that is quantised, with one scale for all its readers.

    Attributes:
        name: ``image``, or the module whose output it is: ``backbone.layer1.0`` is the output of that
            block, ``backbone.layer1.0.conv1`` that of the convolution behind its ReLU, ``decode_head`` the
            sum of the branches.
        readers: The places that read it, at least one.
    """

    name: str
    readers: tuple[Reader, ...]


def quantised_activations(model: DANet) -> tuple[Activation, ...]:
    """Return the tensors of ``model`` that INT8 quantises, in the order in which they are computed.

    Raises:
        QuantisationError: The backbone does not list its own.
    """
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    readers: dict[str, list[Reader]] = {}
    for read in _reads(model):
        if not read.needed or any(runs_on_int8(convolutions[name]) for name in read.needed):
            readers.setdefault(read.tensor, []).append(read.reader)
    return tuple(Activation(name, tuple(found)) for name, found in readers.items())


def runs_on_int8(convolution: nn.Conv2d) -> bool:
    """Return whether modelopt quantises it: both widths from 16 on, or one, with a multiple of 8."""
    widths = convolution.out_channels, convolution.in_channels
    if min(widths) >= WIDE:
        return True
    height, width = convolution.kernel_size
    return max(widths) >= WIDE and any(channels % 8 == 0 for channels in widths) and height == width


def _reads(model: DANet) -> Iterator[Read]:
    if not isinstance(model.backbone, ListsReads):
        raise QuantisationError(
            f"the backbone {model.config.backbone!r} does not list which of its tensors INT8 quantises, as a "
            "fine-tuning needs it; train it without --quantize, and let `danet calibrate` find the scales"
        )
    tensor = yield from model.backbone.quantised_reads("image")
    yield from _head_reads(tensor, model)


def _head_reads(tensor: str, model: DANet) -> Iterator[Read]:
    head = model.decode_head
    if head.pam is not None:
        yield read_by_convolution(tensor, "decode_head.pam_in_conv.conv")
        for projection in ("query_project", "key_project", "value_project"):
            yield read_by_convolution("decode_head.pam_in_conv", f"decode_head.pam.{projection}")
        yield read_by_convolution("decode_head.pam", "decode_head.pam_out_conv.conv")
    if head.cam is not None:
        yield read_by_convolution(tensor, "decode_head.cam_in_conv.conv")
        yield read_by_convolution("decode_head.cam", "decode_head.cam_out_conv.conv")
    if head.pam is not None and head.cam is not None:
        branch = "decode_head.pam_out_conv"
        yield Read(branch, Reader("branch", branch), (f"{branch}.conv",))
        features = "decode_head"
    elif head.pam is not None:
        features = "decode_head.pam_out_conv"
    elif head.cam is not None:
        features = "decode_head.cam_out_conv"
    else:
        yield read_by_convolution(tensor, "decode_head.convs.0.conv")
        features = "decode_head.convs.0"
    yield read_by_convolution(features, "decode_head.conv_seg")
