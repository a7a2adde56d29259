"""A pinhole camera above a street: metres to pixels and back to the ground.

World axes: x to the right, y up, z along the street, in metres. Pixels: u to the right, v down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NEAR_M = 0.6
"""Least distance at which anything is drawn."""

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """Position, direction and optics of the camera.

    Attributes:
        x_m: Position across the world.
        height_m: Height above the ground.
        z_m: Position along the world.
        yaw: Heading in radians, positive to the right.
        focal_px: Focal length in pixels of the canvas.
        horizon_px: Row of the horizon.
        size_hw: Size of the canvas in pixels.
    """

    x_m: float
    height_m: float
    z_m: float
    yaw: float
    focal_px: float
    horizon_px: float
    size_hw: tuple[int, int]

    def to_camera(self, x_m: float, z_m: float) -> tuple[float, float]:
        """Return a point of the ground plane in the camera's frame: metres to its right and ahead of it."""
        dx, dz = x_m - self.x_m, z_m - self.z_m
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return dx * cos - dz * sin, dx * sin + dz * cos

    def project(self, right_m: float, y_m: float, ahead_m: float) -> tuple[float, float]:
        """Return the pixel (u, v) of a point in the camera's frame that is at least NEAR_M ahead."""
        u = self.size_hw[1] / 2 + self.focal_px * right_m / ahead_m
        v = self.horizon_px + self.focal_px * (self.height_m - y_m) / ahead_m
        return u, v

    def ground_rays(self) -> tuple[int, FloatImage, FloatImage, FloatImage]:
        """Return the ground under each pixel below the horizon.

        Returns:
            The first row below the horizon, and for the rows from there on, each (rows, width): world x,
            world z, and the distance ahead of the camera, all in metres.
        """
        height, width = self.size_hw
        first = min(height, max(0, math.floor(self.horizon_px) + 1))
        rows = np.arange(first, height, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(width, dtype=np.float32)[None, :] + 0.5
        ahead = self.focal_px * self.height_m / np.maximum(rows - self.horizon_px, 0.25)
        right = (columns - width / 2) * ahead / self.focal_px
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        world_x = self.x_m + right * cos + ahead * sin
        world_z = self.z_m - right * sin + ahead * cos
        return first, world_x, world_z, np.broadcast_to(ahead, world_x.shape).astype(np.float32)
