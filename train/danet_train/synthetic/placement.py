"""Placing houses, furniture, people and vehicles along a street at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from danet_train.synthetic.drawing.light import Light, draw_light
from danet_train.synthetic.drawing.texture import Piece, Texture, modulate, smooth_noise
from danet_train.synthetic.ground import draw_street
from danet_train.synthetic.objects import figures, furniture, structures, vehicles
from danet_train.synthetic.world import Panel, Thing, World

_BLOCK_M = 40.0
_SIGHT_M = 22.0


def build_world(rng: np.random.Generator, length_m: float = 90.0, ego_speed_mps: float = 0.0) -> World:
    """Make a random street.

    Args:
        rng: Random generator of every choice.
        length_m: Length of the street, from the camera's start on.
        ego_speed_mps: Speed of the camera; traffic keeps pace with it, and people leave its lane free.
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
    """Plots along one side: houses, or gardens behind a fence or a hedge, or trees alone."""
    street, light = world.street, world.light
    setback = float(rng.choice([0.0, 0.0, rng.uniform(1.5, 4)]))
    houses = float(rng.uniform(0.3, 0.75))
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
        tree = structures.tree(rng, float(rng.uniform(4, 9)))
        centre = side * (edge + float(rng.uniform(1.5, 7)))
        world.structures.append(Thing((_upright(centre, z, tree),), z))
    kind, length = float(rng.random()), end - at
    makers: tuple[tuple[float, Callable[[float], Texture], float], ...] = (
        (0.6, lambda tall: structures.fence(rng, length, tall), float(rng.uniform(1.3, 2.2))),
        (0.82, lambda tall: structures.hedge(rng, length, tall), float(rng.uniform(0.9, 1.8))),
    )
    for limit, make, tall in makers:
        if kind < limit:
            panel = _panel(side * edge, at, side * edge, end, tall, modulate(make(tall), lit))
            world.structures.append(Thing((panel,), at - 0.5))
            return


def _fill_block(rng: np.random.Generator, world: World, start: float, ego_speed: float) -> None:
    """Street furniture, people and vehicles on forty metres."""
    for side in (-1, 1):
        _furnish(rng, world, side, start)
        _populate(rng, world, side, start)
        _park(rng, world, side, start)
    _let_cross(rng, world, start, ego_speed)
    _let_drive(rng, world, start, ego_speed)


def _along(rng: np.random.Generator, start: float) -> float:
    return start + float(rng.uniform(0, _BLOCK_M))


def _kerbside(rng: np.random.Generator, world: World, side: int) -> float:
    return side * (world.street.road_half_m + float(rng.uniform(0.3, 0.8)))


def _furnish(rng: np.random.Generator, world: World, side: int, start: float) -> None:
    """Lamp posts, signs, traffic lights, bollards and trees along one kerb."""
    street = world.street
    for z in np.arange(start + rng.uniform(0, 12), start + _BLOCK_M, rng.uniform(12, 22)):
        lamp = furniture.lamp_post(rng, lit=world.light.lamps_lit)
        _stand(world, lamp.mirrored() if side > 0 else lamp, _kerbside(rng, world, side), float(z))
    for _ in range(int(rng.poisson(1.4))):
        _stand(world, furniture.traffic_sign(rng), _kerbside(rng, world, side), _along(rng, start))
    for _ in range(int(rng.poisson(1.1))):
        _stand(world, furniture.traffic_light(rng), _kerbside(rng, world, side), _along(rng, start))
    if rng.random() < 0.3:
        first = _along(rng, start)
        for step in range(int(rng.integers(3, 7))):
            _stand(world, furniture.bollard(rng), side * (street.road_half_m + 0.35), first + 1.6 * step)
    if street.verge_m > 0 or rng.random() < 0.3:
        for _ in range(int(rng.poisson(1.6))):
            tree = structures.tree(rng, float(rng.uniform(3.5, 7)))
            _stand(
                world, tree, side * (street.road_half_m + 0.6 + street.verge_m / 2), _along(rng, start + 3)
            )


def _populate(rng: np.random.Generator, world: World, side: int, start: float) -> None:
    """People and parked two-wheelers on one sidewalk."""
    street = world.street
    for _ in range(int(rng.poisson(4.0))):
        across = side * float(rng.uniform(street.walk_start_m, street.walk_end_m))
        pace = float(rng.choice([-1.2, 0, 1.2]))
        _stand(world, figures.person(rng, float(rng.uniform(1.5, 1.9))), across, _along(rng, start), pace)
    for _ in range(int(rng.poisson(1.6))):
        bicycle = figures.bicycle_side(rng, ridden=False)
        _stand(world, bicycle, side * (street.walk_start_m + 0.4), _along(rng, start))


def _let_cross(rng: np.random.Generator, world: World, start: float, ego_speed: float) -> None:
    """People on the zebra crossings, on the other half of the road only when the camera moves."""
    for crossing in world.street.crossings_m:
        if start <= crossing < start + _BLOCK_M and crossing > 6:
            for _ in range(int(rng.integers(0, 3))):
                across = float(rng.uniform(-1, 0 if ego_speed else 1)) * world.street.road_half_m
                z = crossing + float(rng.uniform(-1, 1))
                _stand(world, figures.person(rng, float(rng.uniform(1.5, 1.9))), across, z)


def _let_drive(rng: np.random.Generator, world: World, start: float, ego_speed: float) -> None:
    """Cyclists at the edges of the road, and traffic in both lanes (on the right)."""
    for _ in range(int(rng.poisson(2.2))):
        side = int(rng.choice([-1, 1]))
        behind = rng.random() < 0.55
        cyclist = figures.cyclist_from_behind(rng) if behind else figures.bicycle_side(rng, ridden=True)
        across = side * (world.street.road_half_m - float(rng.uniform(0.4, 1.4)))
        _stand(world, cyclist, across, _along(rng, start + 2), side * 4.0)
    for direction in (-1, 1):
        z = start + float(rng.uniform(5, 25))
        while z < start + _BLOCK_M and rng.random() < 0.62:
            body = _any_vehicle(rng, world.light, towards=direction < 0)
            speed = -ego_speed if direction < 0 else ego_speed * float(rng.uniform(0.97, 1.08))
            _drive(world, body, direction * world.lane_m + float(rng.normal(0, 0.2)), z, speed)
            z += body.length_m + float(rng.uniform(5, 18))


def _any_vehicle(rng: np.random.Generator, light: Light, *, towards: bool) -> vehicles.Body:
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
    world.things.append(Thing(panels, z, speed, (left - 0.1, right + 0.1, z - 0.3, far + 0.2), 70.0))


def _stand(world: World, piece: Piece, across: float, z: float, speed: float = 0.0) -> None:
    """Stand a piece upright at a point, facing along the street, with a shadow at its foot."""
    foot = min(piece.width_m, 1.2) / 2
    footprint = (across - foot, across + foot, z - 0.12, z + 0.12)
    world.things.append(Thing((_upright(across, z, piece),), z, speed, footprint, _SIGHT_M))


def _upright(across: float, z: float, piece: Piece) -> Panel:
    left, right = across - piece.width_m / 2, across + piece.width_m / 2
    return _panel(left, z, right, z, piece.height_m, piece.texture)


def _panel(
    across_0: float, z_0: float, across_1: float, z_1: float, height: float, texture: Texture
) -> Panel:
    return Panel((across_0, across_1), (z_0, z_1), height, texture)
