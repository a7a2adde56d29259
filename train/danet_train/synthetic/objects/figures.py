"""Textures of people and of bicycles."""

from __future__ import annotations

import numpy as np

from danet_train.synthetic.drawing.texture import BICYCLE, PERSON, RIDER, Color, Piece, Stencil, pick, vary

_CLOTHES: tuple[Color, ...] = (
    (60, 55, 50), (120, 70, 40), (50, 50, 150), (150, 150, 150), (60, 110, 150), (80, 120, 60), (45, 40, 70),
    (190, 190, 200), (90, 90, 95), (60, 150, 190), (110, 60, 110),
)  # fmt: skip
_SKIN: tuple[Color, ...] = ((130, 165, 210), (90, 125, 175), (60, 85, 130), (150, 180, 225))
_HAIR: tuple[Color, ...] = ((25, 30, 40), (40, 60, 90), (90, 130, 160), (70, 70, 75))
_HELMETS: tuple[Color, ...] = ((225, 225, 225), (60, 200, 230), (50, 50, 190), (200, 120, 50))
_PAINT: tuple[Color, ...] = ((40, 40, 45), (50, 50, 160), (140, 90, 40), (70, 120, 70), (170, 170, 175))
_TYRE: Color = (35, 35, 35)
_SPOKES: Color = (95, 95, 95)


def person(rng: np.random.Generator, height_m: float) -> Piece:
    """Someone walking or standing."""
    width_m = height_m * 0.52
    stencil = Stencil(width_m, height_m, 60)
    middle, unit = width_m / 2, height_m / 1.75
    stride = rng.uniform(0.02, 0.22) * unit
    coat, trousers = vary(pick(rng, _CLOTHES), rng, 14), vary(pick(rng, _CLOTHES), rng, 14)
    for side in (-1, 1):
        foot = middle + side * stride
        hip = middle + side * 0.07 * unit
        stencil.line([(hip, 0.85 * unit), (foot, 0.06 * unit)], 0.17 * unit, trousers, PERSON)
        stencil.ellipse((foot + 0.04, 0.05 * unit), (0.1 * unit, 0.05 * unit), (30, 30, 35), PERSON)
    hem = rng.uniform(0.6, 0.85) * unit
    stencil.polygon(
        [(middle - 0.2 * unit, hem), (middle + 0.2 * unit, hem), (middle + 0.24 * unit, 1.42 * unit),
         (middle + 0.1 * unit, 1.5 * unit), (middle - 0.1 * unit, 1.5 * unit),
         (middle - 0.24 * unit, 1.42 * unit)],
        coat, PERSON,
    )  # fmt: skip
    swing = rng.uniform(-0.15, 0.15) * unit
    for side in (-1, 1):
        hand = (middle + side * (0.27 * unit + abs(swing) * 0.4), 0.8 * unit)
        stencil.line(
            [(middle + side * 0.22 * unit, 1.38 * unit), hand], 0.11 * unit, vary(coat, rng, 8), PERSON
        )
    _head(rng, stencil, (middle, 1.61 * unit), 0.125 * unit, PERSON)
    if rng.random() < 0.35:  # a bag
        bag = vary(pick(rng, _CLOTHES), rng, 15)
        left = middle + 0.18 * unit
        stencil.box(left, 0.7 * unit, left + 0.2 * unit, 1.05 * unit, bag, PERSON)
    return Piece(stencil.grained(rng, 0.07), width_m, height_m)


def _head(
    rng: np.random.Generator, stencil: Stencil, centre: tuple[float, float], radius: float, label: int
) -> None:
    x, y = centre
    hair = pick(rng, _HELMETS if label == RIDER else _HAIR)
    stencil.ellipse((x, y + 0.3 * radius), (radius, radius), vary(hair, rng, 8), label)
    stencil.ellipse((x, y - 0.15 * radius), (radius * 0.85, radius), vary(pick(rng, _SKIN), rng, 8), label)


def _wheels(stencil: Stencil, hubs: tuple[float, float], radius: float, label: int, tyre_m: float) -> None:
    for hub in hubs:
        stencil.ellipse((hub, radius), (radius, radius), _TYRE, label)
        stencil.ellipse((hub, radius), (radius - tyre_m, radius - tyre_m), _SPOKES, label)


def bicycle_side(rng: np.random.Generator, *, ridden: bool) -> Piece:
    """A bicycle seen from its side, with its rider or alone."""
    width_m, height_m = 1.9, 1.85 if ridden else 1.1
    stencil = Stencil(width_m, height_m, 60)
    paint = vary(pick(rng, _PAINT), rng, 15)
    back, front, axle = 0.38, 1.5, 0.36
    _wheels(stencil, (back, front), axle, BICYCLE, 0.07)
    crank, seat, bar = (0.85, 0.33), (0.68, 0.92), (1.33, 0.98)
    for line in (
        [(back, axle), crank, bar],
        [crank, seat, (back, axle)],
        [seat, (1.36, 0.86)],
        [bar, (front, axle)],
    ):
        stencil.line(line, 0.075, paint, BICYCLE)
    stencil.line([(1.25, 1.03), (1.42, 1.03)], 0.06, (40, 40, 40), BICYCLE)
    stencil.box(0.55, 0.92, 0.82, 1.0, (35, 35, 40), BICYCLE)
    if ridden:
        coat, trousers = vary(pick(rng, _CLOTHES), rng, 14), vary(pick(rng, _CLOTHES), rng, 14)
        stencil.line([(0.7, 1.0), (1.08, 0.72), (0.9, 0.28)], 0.17, trousers, RIDER)
        stencil.polygon([(0.56, 0.98), (0.86, 0.96), (1.16, 1.45), (0.9, 1.56)], coat, RIDER)
        stencil.line([(1.04, 1.42), (1.2, 1.15), (1.34, 1.05)], 0.11, coat, RIDER)
        _head(rng, stencil, (1.12, 1.66), 0.13, RIDER)
    return Piece(stencil.grained(rng, 0.06), width_m, height_m)


def cyclist_from_behind(rng: np.random.Generator) -> Piece:
    """A cyclist riding away or towards the camera."""
    width_m, height_m = 0.8, 1.85
    stencil = Stencil(width_m, height_m, 60)
    coat, trousers = vary(pick(rng, _CLOTHES), rng, 14), vary(pick(rng, _CLOTHES), rng, 14)
    stencil.ellipse((0.4, 0.36), (0.065, 0.36), _TYRE, BICYCLE)
    stencil.box(0.35, 0.6, 0.45, 0.95, vary(pick(rng, _PAINT), rng, 15), BICYCLE)
    stencil.line([(0.1, 1.0), (0.7, 1.0)], 0.06, (45, 45, 45), BICYCLE)
    lift = rng.uniform(-0.12, 0.12)
    for side in (-1, 1):
        stencil.line(
            [(0.4 + side * 0.1, 0.98), (0.4 + side * 0.16, 0.38 + side * lift)], 0.15, trousers, RIDER
        )
    stencil.polygon(
        [(0.24, 0.9), (0.56, 0.9), (0.64, 1.44), (0.5, 1.54), (0.3, 1.54), (0.16, 1.44)], coat, RIDER
    )
    for side in (-1, 1):
        stencil.line([(0.4 + side * 0.22, 1.42), (0.4 + side * 0.28, 1.03)], 0.1, coat, RIDER)
    _head(rng, stencil, (0.4, 1.66), 0.13, RIDER)
    return Piece(stencil.grained(rng, 0.06), width_m, height_m)
