"""Textures: small pictures whose fourth channel is the train id, so that color and label never part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from danet_train.classes import CITYSCAPES, IGNORE

# The train ids of Cityscapes by name.
ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN = range(10)
SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(10, 19)
UNLABELLED = IGNORE

_NAMES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain "
    "sky person rider car truck bus train motorcycle bicycle"
)
if tuple(_NAMES.split()) != tuple(name.replace(" ", "_") for name in CITYSCAPES.names):
    raise ImportError("cityscapesscripts orders its classes otherwise than this module; install version 2.x")

HOLE = 254
"""The label of a transparent texel."""

Texture = npt.NDArray[np.uint8]
"""(h, w, 4) uint8: blue, green, red, train id (or HOLE). Row 0 is the top."""

Color = tuple[int, int, int]
"""Blue, green, red, 0..255."""

Points = Sequence[tuple[float, float]]


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int], cell: float) -> npt.NDArray[np.float32]:
    """Return (h, w) float32 noise of mean about 0 and spread about 1, smooth over ``cell`` pixels."""
    height, width = size_hw
    coarse = rng.standard_normal((max(2, round(height / cell)), max(2, round(width / cell)))).astype(
        np.float32
    )
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def vary(color: Color, rng: np.random.Generator, spread: float) -> Color:
    """Return ``color`` with brightness and hue moved at random by about ``spread`` levels."""
    moved = np.array(color) + rng.normal(0, spread) + rng.normal(0, spread / 2, 3)
    blue, green, red = np.clip(moved, 0, 255).astype(int).tolist()
    return blue, green, red


def pick(rng: np.random.Generator, options: Sequence[Color]) -> Color:
    """Choose one of ``options``."""
    return options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class Piece:
    """A texture and how large it is in the world.

    Attributes:
        texture: The texture; its lower edge stands on the ground.
        width_m: Width of the texture.
        height_m: Height of the texture.
    """

    texture: Texture
    width_m: float
    height_m: float

    def mirrored(self) -> Piece:
        """Return it with left and right exchanged."""
        return Piece(np.ascontiguousarray(self.texture[:, ::-1]), self.width_m, self.height_m)


class Stencil:
    """Draws shapes into a texture, in metres: x from the left edge, y from the ground up."""

    def __init__(self, width_m: float, height_m: float, px_per_m: float) -> None:
        self.width_m, self.height_m = width_m, height_m
        self._scale = px_per_m
        rows, columns = max(2, round(height_m * px_per_m)), max(2, round(width_m * px_per_m))
        self.texels: Texture = np.zeros((rows, columns, 4), np.uint8)
        self.texels[..., 3] = HOLE

    def _px(self, point: tuple[float, float]) -> tuple[int, int]:
        return round(point[0] * self._scale), round((self.height_m - point[1]) * self._scale)

    def polygon(self, points: Points, color: Color, label: int) -> None:
        """Fill a polygon."""
        corners = np.array([self._px(point) for point in points], np.int32)
        cv2.fillPoly(self.texels, [corners], (*color, label))

    def box(self, left: float, bottom: float, right: float, top: float, color: Color, label: int) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], color, label)

    def ellipse(
        self, centre: tuple[float, float], radii: tuple[float, float], color: Color, label: int
    ) -> None:
        """Fill an upright ellipse."""
        axes = (max(1, round(radii[0] * self._scale)), max(1, round(radii[1] * self._scale)))
        cv2.ellipse(self.texels, self._px(centre), axes, 0, 0, 360, (*color, label), -1)

    def line(self, points: Points, width_m: float, color: Color, label: int) -> None:
        """Draw an open line through ``points``."""
        corners = np.array([self._px(point) for point in points], np.int32)
        cv2.polylines(self.texels, [corners], False, (*color, label), max(1, round(width_m * self._scale)))

    def grained(self, rng: np.random.Generator, amount: float, cell: float = 3.0) -> Texture:
        """Return the finished texture, its brightness varied by about ``amount`` (a part of 1)."""
        return modulate(self.texels, 1 + amount * smooth_noise(rng, self.texels.shape[:2], cell))


def modulate(texels: Texture, factor: npt.NDArray[np.float32] | float) -> Texture:
    """Return a copy whose colors are multiplied by ``factor``, (h, w) or one number; labels stay."""
    out = texels.copy()
    if isinstance(factor, np.ndarray):
        field = cv2.merge([np.clip(factor, 0, 4).astype(np.float32)] * 3)
        out[..., :3] = cv2.multiply(texels[..., :3], field, dtype=cv2.CV_8U)
    else:
        out[..., :3] = cv2.convertScaleAbs(texels[..., :3], alpha=factor)
    return out
