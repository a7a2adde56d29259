"""A street with everything on it, placed at random, in coordinates along and across the street."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from danet_train.synthetic import figures, furniture, structures, vehicles
from danet_train.synthetic.ground import Street, draw_street
from danet_train.synthetic.light import Light, draw_light
from danet_train.synthetic.texture import Texture, modulate, smooth_noise

_BLOCK_M = 40.0


@dataclass(frozen=True)
class Panel:
    """An upright textured face between two points of the ground.

    Attributes:
        across_m: Of its two lower corners, from the middle of the road, positive to the right.
        along_m: Of the same two corners, along the street.
        height_m: Of its upper edge; the lower one stands on the ground.
        texture: Column 0 is at the first corner.
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
        along_m: Of its near end, which decides what hides what.
        speed_mps: Along the street, negative towards the camera.
        footprint_m: Left, right, near and far edge of the shadow under it, or None.
    """

    panels: tuple[Panel, ...]
    along_m: float
    speed_mps: float = 0.0
    footprint_m: tuple[float, float, float, float] | None = None


@dataclass
class World:
    """A scene before it is seen.

    Attributes:
        street: The ground.
        light: Weather and time of day.
        clouds: (512, 512) float32 noise.
        skyline: Textures of the far end, from left to right.
        structures: Houses, walls, fences and hedges.
        things: Everything else.
        sun_reach_m: As :func:`danet_train.synthetic.ground.paint_ground` takes it.
        lane_m: Across position of the camera's lane.
        camera_height_m: Above the ground.
        camera_pitch: Of the horizon, in parts of the picture's height from its middle.
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


def build_world(rng: np.random.Generator, length_m: float = 90.0, ego_speed_mps: float = 0.0) -> World:
    """A street at random.

    Args:
        rng: Makes every choice.
        length_m: Of the street, from the camera's start on.
        ego_speed_mps: Of the camera; traffic keeps pace with it, and its lane is free of people when it moves.
    """
    light, street = draw_light(rng), draw_street(rng, length_m)
    world = World(
        street=street,
        light=light,
        clouds=0.7 * smooth_noise(rng, (512, 512), 90) + 0.4 * smooth_noise(rng, (512, 512), 25),
        skyline=tuple(structures.skyline(rng, 40.0, float(rng.uniform(7, 16))) for _ in range(6)),
        lane_m=street.road_half_m * float(rng.uniform(0.28, 0.45)),
        camera_height_m=float(rng.uniform(1.25, 1.7)),
        camera_pitch=float(rng.uniform(-0.07, 0.05)),
        bonnet=float(rng.uniform(0.25, 0.42)) if rng.random() < 0.35 else 0.0,
    )
    reach = np.full(int(length_m) + 60, street.walk_end_m * 2, np.float32)
    for side in (-1, 1):
        _line_street(rng, world, side, length_m, reach)
    if light.sun_side:
        world.sun_reach_m = reach * light.sun_side
    for start in np.arange(4.0, length_m, _BLOCK_M):
        _fill_block(rng, world, float(start), ego_speed_mps)
    return world


def _line_street(
    rng: np.random.Generator, world: World, side: int, length_m: float, reach: npt.NDArray[np.float32]
) -> None:
    """Plots along one side: houses, or gardens behind a wall, a fence or a hedge, or open ground with trees."""
    street, light = world.street, world.light
    setback = float(rng.choice([0.0, rng.uniform(0.5, 4)]))
    houses = float(rng.uniform(0.4, 0.85))
    lit = 1 - light.shadow * 0.6 if light.sun_side == side else 1.06 if light.sun_side else 1.0
    at = -8.0
    while at < length_m + 5:
        end = at + float(rng.uniform(8, 22))
        edge = street.walk_end_m + (setback if rng.random() < 0.8 else 0.0)
        if rng.random() < houses:
            tall = float(rng.uniform(5, 15))
            deep = float(rng.uniform(6, 12))
            front = modulate(structures.facade(rng, end - at, tall, windows_lit=light.windows_lit), lit)
            gable = modulate(structures.facade(rng, deep, tall, windows_lit=light.windows_lit), 0.86)
            panels = (
                _panel(side * edge, end, side * (edge + deep), end, tall, gable),
                _panel(side * edge, at, side * edge, end, tall, front),
                _panel(side * edge, at, side * (edge + deep), at, tall, gable),
            )
            world.structures.append(Thing(panels, at))
            if light.sun_side == side:
                shadow_edge = edge - tall * 0.55
                reach[max(0, int(at)) : max(0, int(end))] = shadow_edge
        else:
            _garden(rng, world, side, at, end, lit)
        at = end + (float(rng.uniform(1, 5)) if rng.random() < 0.4 else 0.0)


def _garden(rng: np.random.Generator, world: World, side: int, at: float, end: float, lit: float) -> None:
    edge = world.street.walk_end_m + 0.1
    for _ in range(int(rng.integers(2, 5))):
        z = float(rng.uniform(at, end))
        texture, width = structures.tree(rng, float(rng.uniform(4, 9)))
        centre = side * (edge + float(rng.uniform(1.5, 7)))
        world.structures.append(
            Thing(
                (_upright(centre, z, width, _height_of(texture, structures.TREE_TEXELS_PER_M), texture),), z
            )
        )
    kind, length = float(rng.random()), end - at
    makers: tuple[tuple[float, Callable[[float], Texture], float], ...] = (
        (0.34, lambda tall: structures.wall(rng, length, tall), float(rng.uniform(1.0, 2.2))),
        (0.7, lambda tall: structures.fence(rng, length, tall), float(rng.uniform(1.1, 1.9))),
        (0.86, lambda tall: structures.hedge(rng, length, tall), float(rng.uniform(0.9, 1.8))),
    )
    for limit, make, tall in makers:
        if kind < limit:
            panel = _panel(side * edge, at, side * edge, end, tall, modulate(make(tall), lit))
            world.structures.append(Thing((panel,), at - 0.5))
            return


def _fill_block(rng: np.random.Generator, world: World, start: float, ego_speed: float) -> None:
    """Street furniture, people and vehicles on forty metres."""
    street, light = world.street, world.light

    def along(nearest: float = 0.0) -> float:
        return start + float(rng.uniform(nearest, _BLOCK_M))

    def kerbside(side: int) -> float:
        return side * (street.road_half_m + float(rng.uniform(0.3, 0.8)))

    for side in (-1, 1):
        for z in np.arange(start + rng.uniform(0, 12), start + _BLOCK_M, rng.uniform(12, 22)):
            _place(
                world,
                furniture.lamp_post(rng, lit=light.lamps_lit),
                kerbside(side),
                float(z),
                mirrored=side > 0,
            )
        for _ in range(int(rng.poisson(1.4))):
            _place(world, furniture.traffic_sign(rng), kerbside(side), along())
        for _ in range(int(rng.poisson(1.1))):
            _place(world, furniture.traffic_light(rng), kerbside(side), along(2))
        if rng.random() < 0.3:
            first = along()
            for step in range(int(rng.integers(3, 7))):
                _place(world, furniture.bollard(rng), side * (street.road_half_m + 0.35), first + 1.6 * step)
        if street.verge_m > 0 or rng.random() < 0.3:
            for _ in range(int(rng.poisson(1.6))):
                texture, width = structures.tree(rng, float(rng.uniform(3.5, 7)))
                centre, z = side * (street.road_half_m + 0.6 + street.verge_m / 2), along(3)
                world.things.append(Thing((_upright(centre, z, width, _height_of(texture, structures.TREE_TEXELS_PER_M), texture),), z,
                                          footprint_m=(centre - width / 2, centre + width / 2, z - 0.6, z + 0.6)))  # fmt: skip
        for _ in range(int(rng.poisson(2.6))):
            texture, width = figures.person(rng, float(rng.uniform(1.5, 1.9)))
            s = side * float(rng.uniform(street.walk_start_m, street.walk_end_m))
            _stand(
                world, texture, s, along(), width, _height_of(texture, 60), float(rng.choice([-1.2, 0, 1.2]))
            )
        for _ in range(int(rng.poisson(0.9))):
            _place(
                world, figures.bicycle_side(rng, ridden=False), side * (street.walk_start_m + 0.4), along()
            )
        if rng.random() < 0.35:
            _place(world, figures.motorcycle_side(rng), kerbside(side), along())
        _park(rng, world, side, start)
    for crossing in street.crossings_m:
        if start <= crossing < start + _BLOCK_M and crossing > 6:
            for _ in range(int(rng.integers(0, 3))):
                texture, width = figures.person(rng, float(rng.uniform(1.5, 1.9)))
                s = float(rng.uniform(-1, 0 if ego_speed else 1)) * street.road_half_m
                _stand(
                    world,
                    texture,
                    s,
                    crossing + float(rng.uniform(-1, 1)),
                    width,
                    _height_of(texture, 60),
                    0.0,
                )
    for _ in range(int(rng.poisson(1.3))):
        side = int(rng.choice([-1, 1]))
        piece = (
            figures.cyclist_from_behind(rng)
            if rng.random() < 0.55
            else figures.bicycle_side(rng, ridden=True)
        )
        s = side * (street.road_half_m - float(rng.uniform(0.4, 1.4)))
        _stand(world, piece[0], s, along(2), piece[1], piece[2], side * 4.0)
    for direction in (-1, 1):
        z = start + float(rng.uniform(5, 25))
        while z < start + _BLOCK_M and rng.random() < 0.62:
            towards = direction < 0
            body = _any_vehicle(rng, light, towards)
            speed = -ego_speed if towards else ego_speed * float(rng.uniform(0.97, 1.08))
            _drive(world, body, direction * world.lane_m + float(rng.normal(0, 0.2)), z, speed)
            z += body.length_m + float(rng.uniform(5, 18))


def _any_vehicle(rng: np.random.Generator, light: Light, towards: bool) -> vehicles.Body:
    draw = rng.random()
    make = vehicles.car if draw < 0.64 else vehicles.truck if draw < 0.83 else vehicles.bus
    return make(rng, towards=towards, lamps_lit=light.lamps_lit)


def _park(rng: np.random.Generator, world: World, side: int, start: float) -> None:
    if world.street.road_half_m < 4.4:
        return
    z = start + float(rng.uniform(0, 10))
    while z < start + _BLOCK_M - 5:
        if rng.random() < 0.5:
            body = vehicles.car(rng, towards=side < 0, lamps_lit=False)
            _drive(world, body, side * (world.street.road_half_m - body.width_m / 2 - 0.15), z, 0.0)
        z += 5.6


def _drive(world: World, body: vehicles.Body, across: float, z: float, speed: float) -> None:
    left, right, far = across - body.width_m / 2, across + body.width_m / 2, z + body.length_m
    panels = (
        _panel(left, z, left, far, body.height_m, body.side),
        _panel(right, z, right, far, body.height_m, body.side),
        _panel(left, z, right, z, body.height_m, body.end),
    )
    world.things.append(Thing(panels, z, speed, (left - 0.1, right + 0.1, z - 0.3, far + 0.2)))


def _place(world: World, piece: furniture.Piece, across: float, z: float, *, mirrored: bool = False) -> None:
    texture, width, height = piece
    if mirrored:
        texture = np.ascontiguousarray(texture[:, ::-1])
    _stand(world, texture, across, z, width, height, 0.0)


def _stand(
    world: World, texture: Texture, across: float, z: float, width: float, height: float, speed: float
) -> None:
    foot = min(width, 1.2) / 2
    panel = _upright(across, z, width, height, texture)
    world.things.append(Thing((panel,), z, speed, (across - foot, across + foot, z - 0.12, z + 0.12)))


def _height_of(texture: Texture, texels_per_m: float) -> float:
    return texture.shape[0] / texels_per_m


def _upright(across: float, z: float, width: float, height: float, texture: Texture) -> Panel:
    return _panel(across - width / 2, z, across + width / 2, z, height, texture)


def _panel(
    across_0: float, z_0: float, across_1: float, z_1: float, height: float, texture: Texture
) -> Panel:
    return Panel((across_0, across_1), (z_0, z_1), height, texture)
