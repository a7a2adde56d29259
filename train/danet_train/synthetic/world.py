"""A street with everything on it, in coordinates along and across the street."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from danet_train.synthetic.drawing.light import Light
from danet_train.synthetic.drawing.texture import Texture
from danet_train.synthetic.ground import Street


@dataclass(frozen=True)
class Panel:
    """An upright textured face between two points of the ground.

    Attributes:
        across_m: Positions of its two lower corners, from the middle of the road, positive to the right.
        along_m: Positions of the same two corners along the street.
        height_m: Height of its upper edge; the lower one stands on the ground.
        texture: The texture; column 0 is at the first corner.
    """

    across_m: tuple[float, float]
    along_m: tuple[float, float]
    height_m: float
    texture: Texture


@dataclass(frozen=True)
class Thing:
    """Something that stands or moves on the ground.

    Attributes:
        panels: Its faces, in the order of drawing.
        along_m: Position of its near end, which decides what hides what.
        speed_mps: Speed along the street, negative towards the camera.
        sight_m: Distance beyond which it is left out, since it would be a pixel or two.
        footprint_m: Left, right, near and far edge of the shadow under it, or None.
    """

    panels: tuple[Panel, ...]
    along_m: float
    speed_mps: float = 0.0
    footprint_m: tuple[float, float, float, float] | None = None
    sight_m: float = 120.0


@dataclass
class World:
    """A scene before it is drawn.

    Attributes:
        street: The ground.
        light: Weather and time of day.
        clouds: (512, 512) float32 noise.
        skyline: Textures of the far end, from left to right.
        structures: Houses, fences and hedges.
        things: Everything else.
        sun_reach_m: Reach of the shadows, see :func:`danet_train.synthetic.ground.paint_ground`.
        lane_m: Position across the street of the camera's lane.
        camera_height_m: Height of the camera above the ground.
        camera_pitch: Position of the horizon, in parts of the picture's height from its middle.
        bonnet: Half width of the own car's bonnet in the picture, in parts of its width; 0 for none.
    """

    street: Street
    light: Light
    clouds: npt.NDArray[np.float32]
    skyline: tuple[Texture, ...]
    lane_m: float
    camera_height_m: float
    camera_pitch: float
    bonnet: float
    structures: list[Thing] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    sun_reach_m: npt.NDArray[np.float32] | None = None
