"""Textures of vehicles: for each a side and an end, which together make a box of two visible faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from danet_train.synthetic.drawing.texture import (
    BUS,
    CAR,
    TRUCK,
    Color,
    Stencil,
    Texture,
    modulate,
    pick,
    vary,
)

_PAINT: tuple[Color, ...] = (
    (60, 60, 62), (120, 120, 122), (190, 190, 192), (215, 218, 220), (45, 42, 120), (110, 65, 35),
    (50, 50, 50), (90, 85, 75), (70, 95, 60), (60, 130, 165), (150, 130, 110),
)  # fmt: skip
_GLASS: Color = (65, 58, 50)
_TYRE: Color = (28, 28, 28)


@dataclass(frozen=True)
class Body:
    """A vehicle as two upright faces.

    Attributes:
        side: Texture of length by height; the left edge is the end nearer to the camera.
        end: Texture of width by height, as seen along the street.
        length_m: Length along the street.
        width_m: Width across it.
        height_m: Height of the roof.
    """

    side: Texture
    end: Texture
    length_m: float
    width_m: float
    height_m: float


def _lamps(stencil: Stencil, width_m: float, y: float, towards: bool, lit: bool, label: int) -> None:
    color: Color = (235, 245, 250) if towards else (40, 35, 235) if lit else (40, 35, 160)
    for left in (0.08, width_m - 0.42):
        stencil.box(left, y, left + 0.34, y + 0.17, color, label)


def car(rng: np.random.Generator, *, towards: bool, lamps_lit: bool) -> Body:
    """A passenger car; ``towards`` shows its front."""
    length, width, height = rng.uniform(3.7, 4.7), rng.uniform(1.7, 1.9), rng.uniform(1.4, 1.75)
    paint = vary(pick(rng, _PAINT), rng, 14)
    belt = height * 0.58
    side = Stencil(length, height, 40)
    side.polygon(
        [(0, 0.25), (length, 0.25), (length, belt * 0.85), (length * 0.78, belt), (0, belt)], paint, CAR
    )
    nose, tail = (0.72, 0.04) if not towards else (0.96, 0.28)
    roof = [
        (length * tail, belt),
        (length * (tail + 0.09), height),
        (length * (nose - 0.17), height),
        (length * nose, belt),
    ]
    side.polygon(roof, paint, CAR)
    glass = [(length * (tail + 0.05), belt), (length * (tail + 0.11), height - 0.12),
             (length * (nose - 0.19), height - 0.12), (length * (nose - 0.05), belt)]  # fmt: skip
    side.polygon(glass, vary(_GLASS, rng, 12), CAR)
    pillar = length * (tail + nose) / 2
    side.box(pillar, belt, pillar + 0.1, height - 0.08, paint, CAR)
    for hub in (length * 0.2, length * 0.8):
        side.ellipse((hub, 0.32), (0.34, 0.32), _TYRE, CAR)
        side.ellipse((hub, 0.32), (0.18, 0.17), (140, 140, 140), CAR)
    end = Stencil(width, height, 48)
    for left in (0.1, width - 0.35):
        end.box(left, 0, left + 0.25, 0.4, _TYRE, CAR)
    end.polygon([(0.03, 0.25), (width - 0.03, 0.25), (width, belt), (0, belt)], paint, CAR)
    end.polygon([(0.08, belt), (width - 0.08, belt), (width - 0.14, height), (0.14, height)], paint, CAR)
    end.polygon(
        [(0.2, belt + 0.05), (width - 0.2, belt + 0.05), (width - 0.26, height - 0.1), (0.26, height - 0.1)],
        vary(_GLASS, rng, 12), CAR,
    )  # fmt: skip
    end.box(0.05, 0.27, width - 0.05, 0.42, vary(paint, rng, 18), CAR)
    end.box(width / 2 - 0.28, 0.45, width / 2 + 0.28, 0.58, (220, 225, 225), CAR)
    _lamps(end, width, belt - 0.25, towards, lamps_lit, CAR)
    return Body(modulate(side.grained(rng, 0.04), 0.92), end.grained(rng, 0.04), length, width, height)


def bus(rng: np.random.Generator, *, towards: bool, lamps_lit: bool) -> Body:
    """A city bus with a row of windows and a destination board."""
    length, width, height = rng.uniform(9, 12), 2.5, rng.uniform(2.9, 3.2)
    paint = vary(
        pick(rng, ((50, 60, 180), (70, 180, 215), (200, 200, 200), (150, 95, 45), (95, 150, 70))), rng, 14
    )
    stripe = vary(pick(rng, ((220, 220, 220), (60, 60, 60), (50, 50, 170))), rng, 10)
    side = Stencil(length, height, 24)
    side.box(0, 0.3, length, height, paint, BUS)
    side.box(0, 0.9, length, 1.15, stripe, BUS)
    for left in np.arange(0.3, length - 1.2, 1.5):
        side.box(left, 1.3, left + 1.3, height - 0.5, vary(_GLASS, rng, 14), BUS)
    for hub in (length * 0.2, length * 0.78):
        side.ellipse((hub, 0.48), (0.48, 0.48), _TYRE, BUS)
    end = Stencil(width, height, 30)
    for left in (0.15, width - 0.5):
        end.box(left, 0, left + 0.35, 0.5, _TYRE, BUS)
    end.box(0, 0.3, width, height, paint, BUS)
    end.box(0.15, 1.2, width - 0.15, height - 0.6, vary(_GLASS, rng, 12), BUS)
    end.box(
        0.4, height - 0.45, width - 0.4, height - 0.12, (40, 160, 210) if lamps_lit else (40, 60, 60), BUS
    )
    _lamps(end, width, 0.65, towards, lamps_lit, BUS)
    return Body(
        modulate(side.grained(rng, 0.04), 0.92), end.grained(rng, 0.04), float(length), width, float(height)
    )


def truck(rng: np.random.Generator, *, towards: bool, lamps_lit: bool) -> Body:
    """A lorry: a cab and a box."""
    length, width, height = rng.uniform(6, 8.5), 2.4, rng.uniform(2.9, 3.5)
    cargo = vary(
        pick(rng, ((205, 205, 205), (170, 175, 180), (150, 120, 80), (90, 110, 150), (100, 140, 95))), rng, 12
    )
    cab = vary(pick(rng, _PAINT), rng, 14)
    side = Stencil(length, height, 24)
    split = 1.9 if towards else length - 1.9
    cargo_x, cab_x = (
        ((split, length), (0.0, split - 0.2)) if towards else ((0.0, split), (split + 0.2, length))
    )
    side.box(0, 0.5, length, 0.8, (55, 55, 55), TRUCK)
    side.box(cargo_x[0], 0.8, cargo_x[1], height, cargo, TRUCK)
    side.box(cab_x[0], 0.5, cab_x[1], height * 0.8, cab, TRUCK)
    side.box(cab_x[0] + 0.4, height * 0.45, cab_x[1] - 0.3, height * 0.72, vary(_GLASS, rng, 12), TRUCK)
    for hub in (length * 0.15, length * 0.75, length * 0.9):
        side.ellipse((hub, 0.45), (0.45, 0.45), _TYRE, TRUCK)
    end = Stencil(width, height, 30)
    for left in (0.15, width - 0.55):
        end.box(left, 0, left + 0.4, 0.6, _TYRE, TRUCK)
    if towards:
        end.box(0, 0.8, width, height, cargo, TRUCK)
        end.box(0.1, 0.4, width - 0.1, height * 0.8, cab, TRUCK)
        end.box(0.25, height * 0.42, width - 0.25, height * 0.72, vary(_GLASS, rng, 12), TRUCK)
    else:
        end.box(0, 0.7, width, height, cargo, TRUCK)
        end.line([(width / 2, 0.8), (width / 2, height - 0.1)], 0.06, vary(cargo, rng, 30), TRUCK)
        end.box(0, 0.45, width, 0.72, (60, 60, 65), TRUCK)
    _lamps(end, width, 0.5, towards, lamps_lit, TRUCK)
    return Body(
        modulate(side.grained(rng, 0.04), 0.9), end.grained(rng, 0.05), float(length), width, float(height)
    )
