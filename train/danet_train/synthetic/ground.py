"""The ground and the sky, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from danet_train.synthetic.camera import Camera, FloatImage
from danet_train.synthetic.drawing.light import Light
from danet_train.synthetic.drawing.texture import (
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    Color,
    pick,
    smooth_noise,
    vary,
)

KERB_M = 0.25
_TILE = 512
_TEXELS_PER_M = 16.0


@dataclass(frozen=True)
class Street:
    """The cross-section and the bend of a street.

    Attributes:
        road_half_m: Distance from the middle of the road to the kerb.
        verge_m: Width of the grass between kerb and sidewalk, 0 for none.
        sidewalk_m: Width of the sidewalk.
        bend_m: Amplitude of the sideways swing of the street.
        bend_length_m: Its wavelength over 2 pi.
        bend_phase: Its phase in radians.
        dashed: Whether the middle line is dashed, else solid.
        edge_lines: Whether lines run along the kerbs.
        crossings_m: Positions of zebra crossings along the street.
        asphalt, paving, grass, paint: Their colors.
        tiles: (3, 512, 512) float32 of spread 1: fine grain, patches, grass.
    """

    road_half_m: float
    verge_m: float
    sidewalk_m: float
    bend_m: float
    bend_length_m: float
    bend_phase: float
    dashed: bool
    edge_lines: bool
    crossings_m: tuple[float, ...]
    asphalt: Color
    paving: Color
    grass: Color
    paint: Color
    tiles: npt.NDArray[np.float32]

    @property
    def walk_start_m(self) -> float:
        """Distance from the middle of the road to the near edge of the sidewalk."""
        return self.road_half_m + KERB_M + self.verge_m

    @property
    def walk_end_m(self) -> float:
        """Distance from the middle of the road to the far edge of the sidewalk."""
        return self.walk_start_m + self.sidewalk_m

    def bend(self, z_m: float) -> float:
        """Return the world x of the middle of the road at ``z_m``."""
        return float(self.bend_m * np.sin(z_m / self.bend_length_m + self.bend_phase))

    def heading(self, z_m: float) -> float:
        """Return the direction of the street at ``z_m`` in radians, positive to the right."""
        slope = self.bend_m / self.bend_length_m * np.cos(z_m / self.bend_length_m + self.bend_phase)
        return float(np.arctan(slope))


def draw_street(rng: np.random.Generator, length_m: float) -> Street:
    """Make a random street, ``length_m`` long."""
    grey = float(rng.uniform(75, 125))
    crossings = tuple(
        float(z) for z in np.arange(rng.uniform(8, 35), length_m, rng.uniform(30, 60)) if rng.random() < 0.6
    )
    tiles = np.stack([
        smooth_noise(rng, (_TILE, _TILE), 1.2),
        smooth_noise(rng, (_TILE, _TILE), 40),
        smooth_noise(rng, (_TILE, _TILE), 3),
    ])  # fmt: skip
    return Street(
        road_half_m=float(rng.uniform(3.6, 6.2)),
        verge_m=float(rng.uniform(1.4, 2.6)) if rng.random() < 0.3 else 0.0,
        sidewalk_m=float(rng.uniform(2.2, 4.0)),
        bend_m=float(rng.uniform(-6, 6)),
        bend_length_m=float(rng.uniform(35, 60)),
        bend_phase=float(rng.uniform(0, 2 * np.pi)),
        dashed=bool(rng.random() < 0.7),
        edge_lines=bool(rng.random() < 0.4),
        crossings_m=crossings,
        asphalt=vary((int(grey), int(grey), int(grey)), rng, 5),
        paving=vary(pick(rng, ((150, 155, 160), (130, 140, 155), (165, 165, 165), (115, 120, 125))), rng, 10),
        grass=vary(pick(rng, ((55, 120, 95), (60, 125, 120), (70, 115, 130), (50, 105, 75))), rng, 10),
        paint=vary((205, 210, 210), rng, 14),
        tiles=tiles,
    )


def paint_ground(
    color: npt.NDArray[np.uint8],
    label: npt.NDArray[np.uint8],
    inverse_depth: FloatImage,
    camera: Camera,
    street: Street,
    sun_reach_m: npt.NDArray[np.float32] | None,
    light: Light,
) -> None:
    """Paint everything below the horizon, in place.

    Args:
        color: (H, W, 3) BGR canvas.
        label: (H, W) train ids.
        inverse_depth: (H, W) in 1/m.
        camera: The camera above the ground.
        street: The street to paint.
        sun_reach_m: By whole metre along the street, how far the shadow of the buildings on the sun's side
            reaches across, as a signed position; None without shadows.
        light: Side of the sun and depth of shadow.
    """
    first, x, z, ahead = camera.ground_rays()
    across = x - street.bend_m * np.sin(z / street.bend_length_m + street.bend_phase).astype(np.float32)
    beside = np.abs(across)
    grain, patches, turf = _lookup(street.tiles, across, z, ahead)

    ids = np.full(beside.shape, TERRAIN, np.uint8)
    tint = np.empty((*beside.shape, 3), np.float32)
    tint[:] = street.grass
    shade = 1 + 0.16 * turf + 0.1 * patches

    walk = (beside >= street.walk_start_m) & (beside < street.walk_end_m)
    kerb = (beside >= street.road_half_m) & (beside < street.road_half_m + KERB_M)
    road = beside < street.road_half_m
    joints = ((np.mod(z, 1.0) < 0.06) | (np.mod(across, 1.0) < 0.06)) & (ahead < 18)
    ids[walk | kerb], ids[road] = SIDEWALK, ROAD
    tint[walk] = street.paving
    shade = np.where(walk, 1 + 0.05 * grain + 0.05 * patches - 0.18 * joints, shade)
    tint[kerb] = np.array(street.paving) * 1.12
    shade = np.where(kerb, 1 + 0.03 * grain, shade)
    tint[road] = street.asphalt
    worn = 0.06 * np.cos(np.clip(beside / street.road_half_m, 0, 1) * 4 * np.pi)
    mended = 0.12 * (patches > 1.1)
    shade = np.where(road, 1 + 0.06 * grain + 0.05 * patches + worn - mended, shade)
    marked = road & _markings(street, across, beside, z)
    tint[marked] = street.paint
    shade = np.where(marked, 1 + 0.06 * grain - 0.12 * (patches > 0.8), shade)

    if sun_reach_m is not None:
        reach = sun_reach_m[np.clip(z, 0, len(sun_reach_m) - 1).astype(np.int32)]
        shaded = (across - reach) * light.sun_side > 0
        shade = np.where(shaded, shade * (1 - light.shadow), shade)
    color[first:] = np.clip(tint * shade[..., None], 0, 255).astype(np.uint8)
    label[first:] = ids
    inverse_depth[first:] = 1 / ahead


def _lookup(
    tiles: npt.NDArray[np.float32], across: FloatImage, z: FloatImage, ahead: FloatImage
) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Return the tiles at each point of the ground; fine grain fades with distance, as by a lens."""
    column = (across * _TEXELS_PER_M).astype(np.int32) & (_TILE - 1)
    row = (z * _TEXELS_PER_M).astype(np.int32) & (_TILE - 1)
    fade = np.clip(14 / ahead, 0.15, 1)
    return tiles[0][row, column] * fade, tiles[1][row >> 1, column >> 1], tiles[2][row, column] * fade


def _markings(street: Street, across: FloatImage, beside: FloatImage, z: FloatImage) -> npt.NDArray[np.bool_]:
    middle = beside < 0.09
    if street.dashed:
        middle &= np.mod(z, 6.0) < 3.0
    marked = middle
    if street.edge_lines:
        marked = marked | (np.abs(beside - (street.road_half_m - 0.3)) < 0.08)
    for crossing in street.crossings_m:
        marked = marked | ((np.abs(z - crossing) < 1.6) & (np.mod(across, 1.1) < 0.55))
    return np.asarray(marked, dtype=np.bool_)


def paint_sky(
    color: npt.NDArray[np.uint8],
    label: npt.NDArray[np.uint8],
    camera: Camera,
    clouds: npt.NDArray[np.float32],
    light: Light,
) -> None:
    """Paint the whole canvas as sky, in place; ``clouds`` is (512, 512) and turns with the camera."""
    height, width = label.shape
    above = camera.horizon_px - np.arange(height, dtype=np.float32)
    rise = np.clip(above / (0.6 * height), 0, 1)[:, None, None]
    low, high = np.array(light.sky_horizon, np.float32), np.array(light.sky_top, np.float32)
    gradient = low * (1 - rise) + high * rise
    shift = round(camera.yaw * camera.focal_px / width * _TILE)
    half = np.roll(clouds, -shift, axis=1)[:, : _TILE // 2]
    layer = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = np.clip(layer * 0.5, 0, 0.8)[..., None] * (1.0 if light.weather != "fog" else 0.1)
    white = low * 0.5 + 118
    color[:] = np.clip(gradient * (1 - cover) + white * cover, 0, 255).astype(np.uint8)
    label[:] = SKY
