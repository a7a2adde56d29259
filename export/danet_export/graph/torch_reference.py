"""Runs the PyTorch network as the bundle defines it: the reference for exported models.

It shares nothing with the wrapper that is traced: RGB order, batch norm and gamma stay as in training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from danet_export.graph.geometry import Geometry
from danet_runtime.frames.arrays import UInt8Array
from danet_train.model.attention import use_blockwise_attention
from danet_train.model.danet import DANet

BLOCKWISE_BEYOND_TOKENS = 8192
"""Number of tokens beyond which the position attention computes a block of rows of its map at a time: at
32768 the whole map and its copies would take 12 GiB."""

_BLOCK_ROWS = 1024


class TorchReference:
    """DANet in FP32 on the CPU, from a BGR frame to labels.

    Args:
        model: The trained network.
        geometry: The sizes.
        mean_rgb: Mean of the training's normalisation, range 0..255.
        std_rgb: Standard deviation of the training's normalisation, range 0..255.
    """

    def __init__(
        self, model: DANet, geometry: Geometry, mean_rgb: Sequence[float], std_rgb: Sequence[float]
    ) -> None:
        self.model = copy.deepcopy(model).eval().float()
        if geometry.tokens > BLOCKWISE_BEYOND_TOKENS:
            use_blockwise_attention(self.model, _BLOCK_ROWS)
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
