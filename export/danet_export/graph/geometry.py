"""Mapping of a camera frame onto the network's input, and of the logits back onto the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from danet_runtime.errors import UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels

OUTPUT_STRIDE = 8
"""DANet's dilated backbone halves its input three times."""

MOST_EXTENT = 16384
"""Largest height and width that the manifest's schema allows."""

Fit = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class Geometry:
    """Sizes on the way from frame to labels, all (height, width).

    Attributes:
        frame_hw: Size of the camera's frame and of the labels.
        model_hw: Size of the network's input.
        content_hw: The part of ``model_hw`` that holds the frame, from the top left; the rest is padding.
        logits_hw: Size of the network's output.
        content_logits_hw: The part of it that belongs to the frame.
        align_corners: Sampling of the upsampling from logits to labels.
        fit: Rule by which ``content_hw`` was chosen.
        pixels: The format in which the camera delivers its frame.
    """

    frame_hw: tuple[int, int]
    model_hw: tuple[int, int]
    content_hw: tuple[int, int]
    align_corners: bool
    fit: Fit = "stretch"
    pixels: Pixels = BGR

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of the model file's input: a frame in its format, with an axis of 1 in front."""
        return (1, *self.pixels.shape(self.frame_hw))

    @property
    def logits_hw(self) -> tuple[int, int]:
        """(height, width) of the network's output."""
        return _cells(self.model_hw)

    @property
    def content_logits_hw(self) -> tuple[int, int]:
        """(height, width) of the logits that belong to the frame."""
        return _cells(self.content_hw)

    @property
    def tokens(self) -> int:
        """Number of positions N of the position attention."""
        return self.logits_hw[0] * self.logits_hw[1]


def plan_geometry(
    model_hw: tuple[int, int],
    frame_hw: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    align_corners: bool | None = None,
    pixels: Pixels = BGR,
) -> Geometry:
    """Compute the sizes on the way from frame to labels.

    A letterboxed frame keeps its aspect ratio up to whole cells of the output stride, so that its logits can
    be cut out exactly and no label is made of padding.

    Args:
        model_hw: Size of the network's input: 8k or 8k+1 in both directions.
        frame_hw: Size of the camera's frame; the model size where it is not given.
        fit: ``stretch`` or ``letterbox``.
        align_corners: Sampling of the upsampling; by default true for 8k+1 (769) and false for 8k, as
            mmsegmentation's configurations have it.
        pixels: The format in which the camera delivers its frame.

    Raises:
        UsageError: The network cannot take that size, or the pixel format has no such frames.
    """
    remainder = {extent % OUTPUT_STRIDE for extent in model_hw}
    if min(model_hw) < OUTPUT_STRIDE or remainder not in ({0}, {1}):
        raise UsageError(
            f"model size must be 8k or 8k+1 in both directions, for example 512x1024 or 769x769 "
            f"(got {model_hw[0]}x{model_hw[1]}); try {_nearest(model_hw)}"
        )
    extra = remainder.pop()
    frame_hw = frame_hw or model_hw
    if min(frame_hw) < 1 or max(*frame_hw, *model_hw) > MOST_EXTENT:
        raise UsageError(
            f"sizes must be 1 to {MOST_EXTENT} in both directions (got model {model_hw[0]}x{model_hw[1]}, "
            f"frame {frame_hw[0]}x{frame_hw[1]})"
        )
    if fault := pixels.fault(frame_hw):
        raise UsageError(f"{fault}; give the camera's size with --frame-size")
    content_hw = model_hw
    if fit == "letterbox":
        scale = min(model_hw[0] / frame_hw[0], model_hw[1] / frame_hw[1])
        height, width = (
            min(
                model,
                max(OUTPUT_STRIDE, round((frame * scale - extra) / OUTPUT_STRIDE) * OUTPUT_STRIDE) + extra,
            )
            for frame, model in zip(frame_hw, model_hw, strict=True)
        )
        content_hw = (height, width)
    sampling = bool(extra) if align_corners is None else align_corners
    return Geometry(frame_hw, model_hw, content_hw, sampling, fit, pixels)


def _cells(size_hw: tuple[int, int]) -> tuple[int, int]:
    return (-(-size_hw[0] // OUTPUT_STRIDE), -(-size_hw[1] // OUTPUT_STRIDE))


def _nearest(size_hw: tuple[int, int]) -> str:
    height, width = (max(1, round(extent / OUTPUT_STRIDE)) * OUTPUT_STRIDE for extent in size_hw)
    return f"{height}x{width}"
