"""The module that is traced: bytes in, bytes out, with the attention as custom nodes.

Everything that only the export needs is here, so that the model in ``danet_train`` stays as it is: the
color conversion, resize and normalisation in front, batch norm folded into the convolutions, PAM's gamma
folded into its value projection, the blue-green-red order of OpenCV folded into the first convolution, and
the fused nodes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from danet_export.errors import ExportError
from danet_export.graph.color import FrameToBgr
from danet_export.graph.geometry import Geometry
from danet_runtime.bundle.operators import (
    NAMESPACE,
    OPERATORS,
    Operator,
    Sizes,
    energy_slices,
    output_shape,
    padded_tokens,
)
from danet_train.model.attention import ChannelAttention, PositionAttention
from danet_train.model.config import DANetConfig
from danet_train.model.danet import DANet

_NO_ATTRIBUTES: Final[Mapping[str, int]] = {}


class PositionAttentionNode(nn.Module):
    """PAM as one ``PositionAttention`` node behind its three projections, gamma folded into the values.

    Args:
        attention: Module whose projections are used; its value projection is scaled in place.
    """

    def __init__(self, attention: PositionAttention) -> None:
        super().__init__()
        self.query_project = attention.query_project
        self.key_project = attention.key_project
        self.value_project = attention.value_project
        with torch.no_grad():
            for parameter in self.value_project.parameters():
                parameter.mul_(attention.gamma.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the attention: (B, C, h, w) to (B, C, h, w).

        Where rows of h w positions are not aligned, the projections are made of padded ones, and so write
        aligned rows for the kernel. What they hold in the padding counts for nothing.
        """
        tokens = x.shape[2] * x.shape[3]
        padding = padded_tokens(tokens) - tokens
        # Padded before it is an image again: onnxsim would make it the convolutions' own padding, of a width
        # that no library has its kernels for.
        rows = F.pad(x.flatten(2), (0, padding)).unsqueeze(2) if padding else x
        inputs = (self.query_project(rows), self.key_project(rows), self.value_project(rows), x)
        return _node("PositionAttention", inputs, _NO_ATTRIBUTES)


class ChannelAttentionNodes(nn.Module):
    """CAM as one ``ChannelEnergy`` node, and standard operators that add up its slices and apply them.

    Args:
        attention: Module whose gamma is used.
    """

    def __init__(self, attention: ChannelAttention) -> None:
        super().__init__()
        self.gamma = nn.Parameter(attention.gamma.scale.detach().reshape(1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the attention: (B, C, h, w) to (B, C, h, w)."""
        attributes = _energy_attributes(x.shape[2] * x.shape[3])
        partial = _node("ChannelEnergy", (x,), attributes)  # (B, S, C, C), FP32
        attention = torch.softmax(-partial.sum(1), dim=-1).to(x.dtype)  # (B, C, C)
        context = attention @ x.flatten(2)  # (B, C, N)
        attended: Tensor = self.gamma * context.reshape_as(x) + x
        return attended


class ExportedDANet(nn.Module):
    """DANet as it is exported.

    Args:
        model: Trained network in eval mode; it is copied, not changed.
        geometry: The sizes.
        mean_rgb: Mean of the training's normalisation, range 0..255.
        std_rgb: Standard deviation of the training's normalisation, range 0..255.
        dtype: Type between normalisation and labels, ``torch.float32`` or ``torch.float16``.
    """

    scale_bgr: Tensor
    shift_bgr: Tensor

    def __init__(
        self,
        model: DANet,
        geometry: Geometry,
        mean_rgb: Sequence[float],
        std_rgb: Sequence[float],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        network = copy.deepcopy(model).eval().float()
        fold_batch_norm(network)
        _take_bgr(network)
        head = network.decode_head
        if head.pam is not None:
            head.add_module("pam", PositionAttentionNode(head.pam))
        if head.cam is not None:
            head.add_module("cam", ChannelAttentionNodes(head.cam))
        self.network = network.to(dtype)
        self.geometry = geometry
        self.dtype = dtype
        self.to_bgr = FrameToBgr(geometry.pixels)
        mean, std = torch.tensor(mean_rgb), torch.tensor(std_rgb)
        self.register_buffer("scale_bgr", std.flip(0).view(1, 3, 1, 1).reciprocal())
        self.register_buffer("shift_bgr", (-mean / std).flip(0).view(1, 3, 1, 1))

    def forward(self, frame: Tensor) -> Tensor:
        """Segment a frame.

        Args:
            frame: uint8 of the geometry's ``frame_shape``: (1, H, W, 3) where that is BGR.

        Returns:
            (1, H, W) uint8 labels.
        """
        size = self.geometry
        # The cast is the graph's first node: TensorRT refuses any other operation on UINT8.
        x = self.to_bgr(frame.to(torch.float32))  # (1, 3, H, W), FP32 also in the FP16 file
        if size.content_hw != size.frame_hw:
            x = F.interpolate(x, size.content_hw, mode="bilinear", align_corners=False)
        # Scale, then shift: the other order lets onnxsim fold the scale into the first convolution of the
        # FP32 file alone, and INT8 scales are carried from that file to the FP16 one.
        x = x * self.scale_bgr + self.shift_bgr
        if size.content_hw != size.model_hw:
            below, right = (size.model_hw[i] - size.content_hw[i] for i in (0, 1))
            x = F.pad(x, (0, right, 0, below))  # zero after normalisation, as in training
        logits = self.network(x.to(self.dtype))  # (1, classes, h, w)
        if size.content_logits_hw != size.logits_hw:
            logits = logits[:, :, : size.content_logits_hw[0], : size.content_logits_hw[1]]
        return _node("UpsampleArgmax", (logits,), _labels_attributes(size)).to(torch.uint8)


def operator_sizes(config: DANetConfig, geometry: Geometry) -> dict[Operator, Sizes]:
    """Return the sizes of each custom operator in a network of this configuration, at batch 1.

    Operators that :func:`held_operators` leaves out are included.
    """
    pitch = padded_tokens(geometry.tokens)
    rows_hw = geometry.logits_hw if pitch == geometry.tokens else (1, pitch)
    q = (1, config.attention_channels, *rows_hw)
    v = (1, config.head_channels, *rows_hw)
    x = (1, config.head_channels, *geometry.logits_hw)
    logits = (1, config.num_classes, *geometry.content_logits_hw)
    nodes: dict[Operator, tuple[list[tuple[int, ...]], Mapping[str, int]]] = {
        "PositionAttention": ([q, q, v, x], _NO_ATTRIBUTES),
        "ChannelEnergy": ([x], _energy_attributes(geometry.tokens)),
        "UpsampleArgmax": ([logits], _labels_attributes(geometry)),
    }
    return {name: OPERATORS[name].sizes(shapes, attributes) for name, (shapes, attributes) in nodes.items()}


def held_operators(config: DANetConfig) -> tuple[Operator, ...]:
    """Return the custom operators of a network of this configuration; it may lack PAM or CAM."""
    left_out: dict[Operator, bool] = {"PositionAttention": not config.pam, "ChannelEnergy": not config.cam}
    return tuple(name for name in OPERATORS if not left_out.get(name, False))


def _energy_attributes(tokens: int) -> dict[str, int]:
    return {"slices": energy_slices(tokens)}


def _labels_attributes(geometry: Geometry) -> dict[str, int]:
    height, width = geometry.frame_hw
    return {"height": height, "width": width, "align_corners": int(geometry.align_corners)}


def _node(operator: Operator, inputs: tuple[Tensor, ...], attributes: Mapping[str, int]) -> Tensor:
    """Make one custom node with the attributes, shape and type of its operator."""
    spec = OPERATORS[operator]
    return torch.onnx.ops.symbolic(
        f"{NAMESPACE}::{operator}",
        inputs,
        attrs={**spec.node_attributes(attributes)},
        dtype=torch.float32 if spec.output_type == "fp32" else inputs[0].dtype,
        shape=output_shape(spec, [part.shape for part in inputs], attributes),
        version=1,
    )


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every batch norm into the convolution registered just before it, in place.

    Folding before the conversion to FP16 rounds the product once; folding FP16 weights would round twice.

    Raises:
        ExportError: A batch norm does not follow a convolution.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            if previous is None or not isinstance(previous[1], nn.Conv2d):
                where = f"{type(module).__name__}.{name}"
                raise ExportError(f"expected a convolution just before the batch norm {where}, found none")
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norm(child)
        previous = (name, child)


def _take_bgr(network: DANet) -> None:
    first = next(module for module in network.backbone.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))
