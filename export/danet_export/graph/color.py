"""Color conversion, the first part of the graph: from a camera's bytes, cast to FP32, to BGR."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danet_runtime.frames.color import yuv_to_bgr
from danet_runtime.frames.pixel_formats import Pixels


class FrameToBgr(nn.Module):
    """Color conversion in standard operators, with OpenCV's definition of it.

    The levels are rounded and clamped to 0..255, as OpenCV does when it converts to bytes: a network that was
    trained on such pictures gets the same ones. Chroma is weighted at its own size and then repeated for the
    pixels that share it. No convolution stands here, since INT8 would quantise it.

    Args:
        pixels: Format of the frames.
    """

    u_bgr: Tensor
    v_bgr: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.pixels = pixels
        if pixels.format == "bgr":
            return
        use = yuv_to_bgr(pixels.color, pixels.range)
        self.luma, self.offset = use.luma, float(use.offset)
        self.register_buffer("u_bgr", torch.tensor(use.u_bgr).view(1, 3, 1, 1))
        self.register_buffer("v_bgr", torch.tensor(use.v_bgr).view(1, 3, 1, 1))

    def forward(self, frame: Tensor) -> Tensor:
        """Convert a frame.

        Args:
            frame: float32 (1, H, W, 3), (1, H * 3 / 2, W) or (1, H, W, 2), as the format has it, 0..255.

        Returns:
            float32 (1, 3, H, W), blue, green, red, 0..255.
        """
        if self.pixels.format == "bgr":
            return frame.permute(0, 3, 1, 2)
        if self.pixels.format == "nv12":
            height, width = frame.shape[1] * 2 // 3, frame.shape[2]
            y = frame[:, :height].unsqueeze(1)  # (1, 1, H, W)
            pairs = frame[:, height:].reshape(1, height // 2, width // 2, 2)
            shared = (2.0, 2.0)
        else:
            height, width = frame.shape[1], frame.shape[2]
            y = frame[..., 1].unsqueeze(1)  # (1, 1, H, W)
            pairs = frame[..., 0].reshape(1, height, width // 2, 2)
            shared = (1.0, 2.0)
        u, v = (pairs[..., index].unsqueeze(1) - 128.0 for index in (0, 1))  # (1, 1, h, w)
        chroma = u * self.u_bgr + v * self.v_bgr  # (1, 3, h, w)
        chroma = F.interpolate(chroma, scale_factor=shared, mode="nearest")  # (1, 3, H, W)
        luma = torch.clamp(y - self.offset, min=0.0) * self.luma
        return torch.clamp(torch.round(luma + chroma), 0.0, 255.0)
