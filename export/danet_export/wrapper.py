"""The module that is traced: bytes in, bytes out, with the attention as custom nodes.

Everything that only the export needs stands here, so that the model in ``danet_train`` stays as it is: the
normalisation and resize in front, batch norm folded into the convolutions, PAM's gamma folded into its value
projection, the blue-green-red order of the camera folded into the first convolution, and the fused nodes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from danet_train.model.danet import DANet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from danet_export import attention_ops as ops
from danet_export.errors import ExportError
from danet_export.geometry import Geometry


class ExportedDANet(nn.Module):
    """DANet as the bundle holds it.

    Args:
        model: In eval mode; it is copied, not changed.
        geometry: The sizes.
        mean_rgb: Of the training's normalisation, range 0..255.
        std_rgb: Of the training's normalisation, range 0..255.
        dtype: ``torch.float32`` or ``torch.float16``, for everything between normalisation and labels.
    """

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
            _fold_gamma(head.pam)
        self.backbone = network.backbone.to(dtype)
        self.head = head.to(dtype)
        self.geometry = geometry
        self.dtype = dtype
        mean, std = torch.tensor(mean_rgb), torch.tensor(std_rgb)
        self.scale_bgr: Tensor
        self.shift_bgr: Tensor
        self.register_buffer("scale_bgr", std.flip(0).view(1, 3, 1, 1).reciprocal())
        self.register_buffer("shift_bgr", (-mean / std).flip(0).view(1, 3, 1, 1))
        gamma = head.cam.gamma.scale.detach().reshape(1) if head.cam is not None else torch.zeros(1)
        self.register_buffer("cam_gamma", gamma.to(dtype))

    def forward(self, frame: Tensor) -> Tensor:
        """Segment a frame.

        Args:
            frame: (1, H, W, 3) uint8, BGR.

        Returns:
            (1, H, W) uint8 labels.
        """
        size = self.geometry
        # The cast is the graph's first node: TensorRT refuses any other operation on UINT8.
        x = frame.to(torch.float32).permute(0, 3, 1, 2)  # (1, 3, H, W)
        if size.content_hw != size.frame_hw:
            x = F.interpolate(x, size.content_hw, mode="bilinear", align_corners=False)
        # Scale, then shift: the other order lets onnxsim fold the scale into the first convolution of the FP32
        # file alone, and INT8 scales are carried from that file to the FP16 one.
        x = x * self.scale_bgr + self.shift_bgr
        if size.content_hw != size.model_hw:
            below, right = (size.model_hw[i] - size.content_hw[i] for i in (0, 1))
            x = F.pad(x, (0, right, 0, below))  # zero after normalisation, as in training
        logits = self.head_logits(self.backbone(x.to(self.dtype))[-1])  # (1, classes, h, w)
        if size.content_logits_hw != size.logits_hw:
            logits = logits[:, :, : size.content_logits_hw[0], : size.content_logits_hw[1]]
        labels = torch.onnx.ops.symbolic(
            f"{ops.DOMAIN}::{ops.UPSAMPLE_ARGMAX}",
            (logits,),
            attrs=ops.upsample_argmax_attributes(size.frame_hw, size.align_corners),
            dtype=self.dtype,
            shape=(1, *size.frame_hw),
            version=1,
        )
        return labels.to(torch.uint8)

    def head_logits(self, c4: Tensor) -> Tensor:
        """The inference branch of the head, (1, C, h, w) to (1, classes, h, w)."""
        head = self.head
        branches = []
        if head.pam is not None:
            x = head.pam_in_conv(c4)
            pam = head.pam
            x = torch.onnx.ops.symbolic(
                f"{ops.DOMAIN}::{ops.POSITION_ATTENTION}",
                (pam.query_project(x), pam.key_project(x), pam.value_project(x), x),
                attrs=ops.PLUGIN_ATTRIBUTES,
                dtype=self.dtype,
                shape=x.shape,
                version=1,
            )
            branches.append(head.pam_out_conv(x))
        if head.cam is not None:
            x = head.cam_in_conv(c4)
            x = torch.onnx.ops.symbolic(
                f"{ops.DOMAIN}::{ops.CHANNEL_ATTENTION}",
                (x, self.cam_gamma),
                attrs=ops.PLUGIN_ATTRIBUTES,
                dtype=self.dtype,
                shape=x.shape,
                version=1,
            )
            branches.append(head.cam_out_conv(x))
        if not branches:
            branches.append(head.convs(c4))
        features = branches[0] if len(branches) == 1 else branches[0] + branches[1]
        logits: Tensor = head.conv_seg(features)
        return logits


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every batch norm into the convolution registered just before it, in place.

    Folding before the conversion to FP16 rounds the product once; folding FP16 weights would round twice.

    Raises:
        ExportError: A batch norm follows no convolution.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            if previous is None or not isinstance(previous[1], nn.Conv2d):
                raise ExportError(
                    f"expected a convolution before the batch norm {name!r} of {type(module).__name__}"
                )
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norm(child)
        previous = (name, child)


def _take_bgr(network: DANet) -> None:
    first = next(module for module in network.backbone.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))


def _fold_gamma(pam: nn.Module) -> None:
    with torch.no_grad():
        gamma = pam.gamma.scale
        pam.value_project.weight.mul_(gamma)
        pam.value_project.bias.mul_(gamma)
