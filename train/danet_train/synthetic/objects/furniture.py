"""Textures of street furniture: lamp posts, traffic lights, traffic signs, bollards."""

from __future__ import annotations

import numpy as np

from danet_train.synthetic.drawing.texture import (
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    Color,
    Piece,
    Stencil,
    pick,
    vary,
)

_METAL: tuple[Color, ...] = ((120, 120, 120), (85, 90, 90), (60, 65, 60), (150, 155, 155), (80, 95, 90))
_RED: Color = (45, 40, 190)
_BLUE: Color = (170, 90, 30)
_WHITE: Color = (225, 225, 225)
_YELLOW: Color = (60, 190, 230)

_SIGN_SCALE = 1.25


def lamp_post(rng: np.random.Generator, *, lit: bool) -> Piece:
    """A mast with an arm over the road (to the right of the texture)."""
    width_m, height_m = 2.0, float(rng.uniform(4.5, 7.0))
    stencil = Stencil(width_m, height_m, 36)
    metal = vary(pick(rng, _METAL), rng, 12)
    thick = float(rng.uniform(0.24, 0.36))
    stencil.box(0.9 - thick / 2, 0, 0.9 + thick / 2, height_m - 0.1, metal, POLE)
    stencil.box(0.9 - thick, 0, 0.9 + thick, 0.5, metal, POLE)
    if rng.random() < 0.6:
        stencil.line([(0.9, height_m - 0.2), (1.8, height_m - 0.1)], 0.12, metal, POLE)
        stencil.box(1.5, height_m - 0.25, 2.0, height_m - 0.08, (190, 240, 255) if lit else metal, POLE)
    return Piece(stencil.grained(rng, 0.06), width_m, height_m)


def bollard(rng: np.random.Generator) -> Piece:
    """A knee-high post."""
    stencil = Stencil(0.26, 1.0, 60)
    stencil.box(0.04, 0, 0.22, 1.0, vary(pick(rng, _METAL), rng, 15), POLE)
    stencil.box(0.04, 0.75, 0.22, 0.88, pick(rng, (_WHITE, _RED, _YELLOW)), POLE)
    return Piece(stencil.grained(rng, 0.06), 0.26, 1.0)


def traffic_light(rng: np.random.Generator) -> Piece:
    """A mast with a signal head that shows one of three lights."""
    width_m, height_m = 1.0, float(rng.uniform(3.0, 4.0))
    stencil = Stencil(width_m, height_m, 48)
    stencil.box(0.38, 0, 0.62, height_m - 0.3, vary(pick(rng, _METAL), rng, 12), POLE)
    case = vary(pick(rng, ((35, 35, 35), (45, 55, 40), (40, 90, 110))), rng, 8)
    top = height_m
    stencil.box(0.1, top - 1.75, 0.9, top, case, TRAFFIC_LIGHT)
    shown = int(rng.integers(3))
    lights: tuple[Color, ...] = ((40, 40, 240), (40, 190, 250), (120, 230, 70))
    for index, light in enumerate(lights):
        color = light if index == shown else (light[0] // 5, light[1] // 5, light[2] // 5)
        stencil.ellipse((0.5, top - 0.33 - 0.54 * index), (0.22, 0.22), color, TRAFFIC_LIGHT)
    return Piece(stencil.grained(rng, 0.04), width_m, height_m)


def traffic_sign(rng: np.random.Generator) -> Piece:
    """A post with a sign: a disc, a triangle, a lozenge, a blue panel, or a yellow name board."""
    width_m, height_m = 1.1, float(rng.uniform(2.3, 3.1))
    stencil = Stencil(width_m, height_m, 48)
    metal = vary(pick(rng, _METAL), rng, 12)
    stencil.box(0.45, 0, 0.65, height_m - 0.1, metal, POLE)
    y, kind = height_m - 0.48, int(rng.integers(6))
    if kind == 0:
        stencil.ellipse((0.55, y), (0.44, 0.44), _RED, TRAFFIC_SIGN)
        stencil.ellipse((0.55, y), (0.31, 0.31), _WHITE, TRAFFIC_SIGN)
        stencil.box(0.42, y - 0.12, 0.68, y + 0.12, (50, 50, 50), TRAFFIC_SIGN)
    elif kind == 1:
        stencil.polygon([(0.07, y - 0.38), (1.03, y - 0.38), (0.55, y + 0.46)], _RED, TRAFFIC_SIGN)
        stencil.polygon([(0.27, y - 0.26), (0.83, y - 0.26), (0.55, y + 0.22)], _WHITE, TRAFFIC_SIGN)
    elif kind == 2:
        lozenge = [(0.55, y - 0.46), (1.02, y), (0.55, y + 0.46), (0.08, y)]
        stencil.polygon(lozenge, _WHITE, TRAFFIC_SIGN)
        inner = [(0.55, y - 0.32), (0.87, y), (0.55, y + 0.32), (0.23, y)]
        stencil.polygon(inner, _YELLOW, TRAFFIC_SIGN)
    elif kind == 3:
        stencil.box(0.13, y - 0.42, 0.97, y + 0.44, _BLUE, TRAFFIC_SIGN)
        stencil.line(
            [(0.38, y - 0.28), (0.38, y + 0.28), (0.65, y + 0.2), (0.4, y)], 0.12, _WHITE, TRAFFIC_SIGN
        )
    elif kind == 4:
        stencil.ellipse((0.55, y), (0.44, 0.44), _BLUE, TRAFFIC_SIGN)
        stencil.line([(0.32, y - 0.2), (0.75, y + 0.22)], 0.13, _WHITE, TRAFFIC_SIGN)
    else:
        stencil.box(0.02, y - 0.25, 1.08, y + 0.35, _YELLOW, TRAFFIC_SIGN)
        stencil.box(0.15, y + 0.0, 0.9, y + 0.1, (50, 50, 50), TRAFFIC_SIGN)
    return Piece(stencil.grained(rng, 0.05), _SIGN_SCALE * width_m, _SIGN_SCALE * height_m)
