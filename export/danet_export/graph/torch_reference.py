"""The PyTorch network run as the bundle defines it: the truth that exported models are compared with.

It shares nothing with the wrapper that is traced: RGB order, batch norm and gamma stay where training has
them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danet_export.graph.geometry import Geometry
from danet_runtime.frames.arrays import UInt8Array
from danet_train.model.attention import PositionAttention
from danet_train.model.danet import DANet

SLICED_BEYOND_TOKENS = 8192
"""Tokens beyond which the position attention is computed in slices: at 32768 the whole map and its copies
would take 12 GiB."""

_SLICE_ROWS = 1024


class SlicedPositionAttention(nn.Module):
    """The same position attention, a slice of its rows at a time: O(N) memory, the same sums.

    Args:
        attention: Whose weights it uses.
    """

    def __init__(self, attention: PositionAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        query = self.attention.query_project(x).flatten(2).transpose(1, 2)  # (B, N, d)
        key = self.attention.key_project(x).flatten(2)  # (B, d, N)
        value = self.attention.value_project(x).flatten(2).transpose(1, 2)  # (B, N, C)
        rows = [torch.softmax(part @ key, dim=-1) @ value for part in query.split(_SLICE_ROWS, dim=1)]
        context = torch.cat(rows, dim=1).transpose(1, 2)  # (B, C, N)
        attended: Tensor = self.attention.gamma(context.reshape_as(x)) + x
        return attended


class TorchReference:
    """DANet in FP32 on the CPU, from a BGR frame to labels.

    Args:
        model: The trained network.
        geometry: The sizes.
        mean_rgb: Of the training's normalisation, range 0..255.
        std_rgb: Of the training's normalisation, range 0..255.
    """

    def __init__(
        self, model: DANet, geometry: Geometry, mean_rgb: Sequence[float], std_rgb: Sequence[float]
    ) -> None:
        self.model = copy.deepcopy(model).eval().float()
        pam = self.model.decode_head.pam
        if pam is not None and geometry.tokens > SLICED_BEYOND_TOKENS:
            self.model.decode_head.add_module("pam", SlicedPositionAttention(pam))
        self.geometry = geometry
        self._mean = torch.tensor(mean_rgb).view(1, 3, 1, 1)
        self._std = torch.tensor(std_rgb).view(1, 3, 1, 1)

    @torch.inference_mode()
    def __call__(self, frame: UInt8Array) -> UInt8Array:
        """Segment one frame.

        Args:
            frame: (H, W, 3) BGR of the frame size.

        Returns:
            (H, W) labels.
        """
        size = self.geometry
        rgb = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1])).permute(2, 0, 1)[None].float()
        if size.content_hw != size.frame_hw:
            rgb = F.interpolate(rgb, size.content_hw, mode="bilinear", align_corners=False)
        image = torch.zeros((1, 3, *size.model_hw))
        image[:, :, : size.content_hw[0], : size.content_hw[1]] = (rgb - self._mean) / self._std
        logits = self.model(image)[:, :, : size.content_logits_hw[0], : size.content_logits_hw[1]]
        scores = F.interpolate(logits, size.frame_hw, mode="bilinear", align_corners=size.align_corners)
        return scores.argmax(1)[0].to(torch.uint8).numpy()
