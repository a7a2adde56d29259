"""How overlays are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from danet_runtime.errors import UsageError
from danet_runtime.results.palettes import PaletteName

Upsampling = Literal["nearest", "bilinear"]

DEFAULT_ALPHA: Final = 0.5
"""Share of a class's color in the overlay; the rest is the frame."""


@dataclass(frozen=True)
class OverlayStyle:
    """How overlays are drawn. What costs time is off by default; docs/stream.md says how much.

    Attributes:
        alpha: Share of a class's color, 0..1; the rest is the frame.
        legend: Draw the names of the classes that are there into the upper left corner, the largest first,
            on a quarter of the frame at most.
        contours: Draw the borders of the classes in their full colors.
        names: Write the names of the classes on their large regions.
        head_up: Write frames a second, age, health and model into the lower left corner.
        palette: The colors: the classes' own, or such as the color-blind can tell apart.
        upsample: How labels of a smaller size come to the frame's in the overlay: ``nearest`` as they are;
            ``bilinear`` with smooth borders, by the shares of the classes around each pixel.

    Raises:
        UsageError: A value is out of range.
    """

    alpha: float = DEFAULT_ALPHA
    legend: bool = False
    contours: bool = False
    names: bool = False
    head_up: bool = False
    palette: PaletteName = "bundle"
    upsample: Upsampling = "nearest"

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise UsageError(f"alpha must be between 0 and 1 (got {self.alpha})")
        for name, value, known in (
            ("palette", self.palette, get_args(PaletteName)),
            ("upsample", self.upsample, get_args(Upsampling)),
        ):
            if value not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)} (got {value!r})")


PICTURE_STYLE: Final = OverlayStyle(legend=True)
"""The style of a single picture."""
