"""Draw a world at a moment as a picture with its labels.

Everything is painted from far to near on a canvas three times as large as the picture. The picture is the
canvas's mean, the labels are its middle texels, and both come from the same strokes, so labels are exact.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from danet_train.synthetic.camera import NEAR_M, Camera
from danet_train.synthetic.drawing.light import expose
from danet_train.synthetic.drawing.texture import HOLE, UNLABELLED, Texture
from danet_train.synthetic.ground import paint_ground, paint_sky
from danet_train.synthetic.world import Panel, Thing, World

OVERSAMPLING = 3
_FOCAL = 1.05
"""Focal length in picture widths: a horizontal field of view of 51 degrees."""
_FARTHEST_M = 120.0


class _Canvas:
    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.color = np.zeros((*size_hw, 3), np.uint8)
        self.label = np.zeros(size_hw, np.uint8)
        self.inverse_depth = np.zeros(size_hw, np.float32)

    def draw(self, texture: Texture, corners: npt.NDArray[np.float32], nearness: tuple[float, float]) -> None:
        """Warp ``texture`` to ``corners`` (4, 2): upper first, upper second, lower second, lower first."""
        height, width = self.label.shape
        left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if right <= left or bottom <= top or abs(corners[0, 0] - corners[1, 0]) < 0.5:
            return
        rows, columns = texture.shape[:2]
        source = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32) - 0.5
        target = corners - np.array((left, top), np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(source, target.astype(np.float32))
        patch = cv2.warpPerspective(
            texture,
            matrix,
            (right - left, bottom - top),
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0, HOLE),
        )
        visible = patch[..., 3] != HOLE
        window = (slice(top, bottom), slice(left, right))
        self.color[window][visible] = patch[..., :3][visible]
        self.label[window][visible] = patch[..., 3][visible]
        # On an upright plane the inverse depth is linear in the column.
        u = np.arange(left, right, dtype=np.float32) + 0.5
        part = (u - corners[0, 0]) / (corners[1, 0] - corners[0, 0])
        inverse = np.clip(nearness[0] + part * (nearness[1] - nearness[0]), 1e-3, 1 / NEAR_M)
        self.inverse_depth[window][visible] = np.broadcast_to(inverse, visible.shape)[visible]


def render(
    world: World, size_hw: tuple[int, int], rng: np.random.Generator, *, z_m: float = 0.0, time_s: float = 0.0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw ``world`` from ``z_m`` along the street at ``time_s``.

    Args:
        world: The scene.
        size_hw: Size of the picture.
        rng: Random generator of the sensor's noise.
        z_m: Position of the camera along the street.
        time_s: Time of the picture; things with a speed have moved by then.

    Returns:
        The picture (H, W, 3) uint8 BGR, and its train ids (H, W) uint8 with 255 on the own car.
    """
    height, width = size_hw[0] * OVERSAMPLING, size_hw[1] * OVERSAMPLING
    camera = _camera(world, (height, width), z_m, time_s)
    canvas = _Canvas((height, width))
    paint_sky(canvas.color, canvas.label, camera, world.clouds, world.light)
    _draw_skyline(canvas, world, camera)
    paint_ground(
        canvas.color,
        canvas.label,
        canvas.inverse_depth,
        camera,
        world.street,
        world.sun_reach_m,
        world.light,
    )
    _shade_ground(canvas, world, camera, time_s)
    for group in (world.structures, world.things):
        for thing in sorted(group, key=lambda thing: -(thing.along_m + thing.speed_mps * time_s)):
            moved = thing.speed_mps * time_s
            if NEAR_M - 30 < thing.along_m + moved - z_m < thing.sight_m:
                for panel in _back_to_front(thing, world, camera, moved):
                    _draw_panel(canvas, panel, world, camera, moved)
    if world.bonnet:
        _draw_bonnet(canvas, world.bonnet)
    picture = expose(canvas.color, canvas.inverse_depth, world.light, size_hw, rng)
    middle = OVERSAMPLING // 2
    return picture, np.ascontiguousarray(canvas.label[middle::OVERSAMPLING, middle::OVERSAMPLING])


def _camera(world: World, canvas_hw: tuple[int, int], z_m: float, time_s: float) -> Camera:
    height, width = canvas_hw
    nod = 0.004 * np.sin(2.1 * time_s) + 0.002 * np.sin(7.3 * time_s)
    return Camera(
        x_m=world.street.bend(z_m) + world.lane_m,
        height_m=world.camera_height_m,
        z_m=z_m,
        yaw=world.street.heading(z_m),
        focal_px=_FOCAL * width,
        horizon_px=height * (0.46 + world.camera_pitch + float(nod)),
        size_hw=canvas_hw,
    )


def _draw_skyline(canvas: _Canvas, world: World, camera: Camera) -> None:
    """Draw the far end, which keeps its distance, as a landscape does, and turns with the camera."""
    step = 40.0
    offset = -camera.yaw * _FARTHEST_M - step * len(world.skyline) / 2
    for index, texture in enumerate(world.skyline):
        tall = texture.shape[0] / texture.shape[1] * step
        left, right = offset + index * step, offset + (index + 1) * step
        corners = np.array(
            [
                camera.project(left, tall, _FARTHEST_M),
                camera.project(right, tall, _FARTHEST_M),
                camera.project(right, 0, _FARTHEST_M),
                camera.project(left, 0, _FARTHEST_M),
            ],
            np.float32,
        )
        canvas.draw(texture, corners, (1 / _FARTHEST_M, 1 / _FARTHEST_M))


def _shade_ground(canvas: _Canvas, world: World, camera: Camera, time_s: float) -> None:
    """Darken the ground under things; the labels stay those of the ground."""
    mask = np.zeros(canvas.label.shape, np.uint8)
    for thing in world.things:
        if thing.footprint_m is None:
            continue
        left, right, near, far = thing.footprint_m
        moved = thing.speed_mps * time_s
        if near + moved - camera.z_m < 1.0 or near + moved - camera.z_m > 70:
            continue
        if world.light.sun_side > 0:
            left -= 0.8
        elif world.light.sun_side < 0:
            right += 0.8
        points = []
        for across, along in ((left, near), (right, near), (right, far), (left, far)):
            x, ahead = camera.to_camera(world.street.bend(along + moved) + across, along + moved)
            points.append(camera.project(x, 0, max(ahead, NEAR_M)))
        cv2.fillConvexPoly(mask, np.array(points).round().astype(np.int32), 255)
    soft = cv2.blur(mask, (5, 5)).astype(np.float32) * (min(0.7, world.light.shadow + 0.2) / 255)
    canvas.color[:] = (canvas.color * (1 - soft[..., None])).astype(np.uint8)


def _back_to_front(thing: Thing, world: World, camera: Camera, moved: float) -> list[Panel]:
    """Return the faces towards the camera: of the two sides of a box only one is visible."""
    if len(thing.panels) != 3:
        return list(thing.panels)
    first, second, end = thing.panels
    if first.across_m[0] == first.across_m[1] and second.across_m[0] == second.across_m[1]:
        z = end.along_m[0] + moved
        middle, _ = camera.to_camera(world.street.bend(z) + sum(end.across_m) / 2, z)
        return [first if middle > 0 else second, end]
    return list(thing.panels)


def _draw_panel(canvas: _Canvas, panel: Panel, world: World, camera: Camera, moved: float) -> None:
    ends = [
        camera.to_camera(world.street.bend(along + moved) + across, along + moved)
        for across, along in zip(panel.across_m, panel.along_m, strict=True)
    ]
    (x0, ahead0), (x1, ahead1) = ends
    if max(ahead0, ahead1) <= NEAR_M:
        return
    texture = panel.texture
    columns = texture.shape[1]
    # Cut off what is behind the camera, and the same part of the texture.
    if ahead0 < NEAR_M:
        part = (NEAR_M - ahead0) / (ahead1 - ahead0)
        cut = min(columns - 1, int(part * columns))
        part = cut / columns if cut and ahead0 + (cut / columns) * (ahead1 - ahead0) > 0.1 else part
        x0, ahead0 = x0 + part * (x1 - x0), ahead0 + part * (ahead1 - ahead0)
        texture = texture[:, cut:]
    elif ahead1 < NEAR_M:
        part = (NEAR_M - ahead1) / (ahead0 - ahead1)
        cut = min(columns - 1, int(part * columns))
        part = cut / columns if cut and ahead1 + (cut / columns) * (ahead0 - ahead1) > 0.1 else part
        x1, ahead1 = x1 + part * (x0 - x1), ahead1 + part * (ahead0 - ahead1)
        texture = texture[:, : columns - cut]
    corners = np.array(
        [
            camera.project(x0, panel.height_m, ahead0),
            camera.project(x1, panel.height_m, ahead1),
            camera.project(x1, 0, ahead1),
            camera.project(x0, 0, ahead0),
        ],
        np.float32,
    )
    canvas.draw(np.ascontiguousarray(texture), corners, (1 / ahead0, 1 / ahead1))


def _draw_bonnet(canvas: _Canvas, half_width: float) -> None:
    height, width = canvas.label.shape
    centre, axes = (width // 2, height + height // 40), (round(half_width * width), height // 9)
    cv2.ellipse(canvas.color, centre, axes, 0, 180, 360, (38, 36, 34), -1)
    cv2.ellipse(canvas.color, centre, axes, 0, 180, 360, (80, 78, 75), 3)
    cv2.ellipse(canvas.label, centre, axes, 0, 180, 360, UNLABELLED, -1)
