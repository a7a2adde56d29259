"""Textures of the sides of a street: facades, fences, trees and hedges."""

from __future__ import annotations

import cv2
import numpy as np

from danet_train.synthetic.drawing.texture import (
    BUILDING,
    FENCE,
    HOLE,
    VEGETATION,
    Color,
    Piece,
    Stencil,
    Texture,
    modulate,
    pick,
    smooth_noise,
    vary,
)

_PLASTER: tuple[Color, ...] = (
    (150, 180, 205), (120, 150, 190), (175, 190, 195), (140, 140, 140), (95, 110, 150), (110, 125, 130),
    (160, 160, 180), (70, 85, 120), (185, 200, 215), (130, 145, 120),
)  # fmt: skip
_GLASS: tuple[Color, ...] = ((70, 60, 50), (95, 85, 70), (120, 110, 95), (50, 45, 45), (160, 150, 130))
TREE_TEXELS_PER_M = 16
_LIT: Color = (130, 205, 245)
_LEAVES: tuple[Color, ...] = ((40, 95, 60), (35, 80, 75), (50, 110, 90), (45, 75, 50), (55, 105, 120))


def facade(rng: np.random.Generator, width_m: float, height_m: float, *, windows_lit: float) -> Texture:
    """A house front with rows of windows, a ground floor of its own, and a roof edge.

    Args:
        rng: Random generator of colors, rhythm and wear.
        width_m: Width along the street.
        height_m: Height of the roof edge.
        windows_lit: The part of windows with light in them, 0..1.
    """
    stencil = Stencil(width_m, height_m, 12)
    base = vary(pick(rng, _PLASTER), rng, 12)
    trim = vary(base, rng, 22)
    stencil.box(0, 0, width_m, height_m, base, BUILDING)
    storey, bay = rng.uniform(2.7, 3.5), rng.uniform(1.9, 3.6)
    glass_w, glass_h = bay * rng.uniform(0.35, 0.75), storey * rng.uniform(0.4, 0.65)
    framed = rng.random() < 0.6
    ground = vary(trim, rng, 25)
    if rng.random() < 0.6:
        stencil.box(0, 0, width_m, storey * 0.95, ground, BUILDING)
    columns = max(1, int(width_m / bay))
    margin = (width_m - columns * bay) / 2
    for column in range(columns):
        left = margin + column * bay + (bay - glass_w) / 2
        for floor in range(max(1, int(height_m / storey))):
            bottom = floor * storey + storey * 0.28
            if bottom + glass_h > height_m - 0.3:
                continue
            pane = _LIT if rng.random() < windows_lit else vary(pick(rng, _GLASS), rng, 14)
            if floor == 0 and rng.random() < 0.25:  # a door
                stencil.box(left, 0, left + min(glass_w, 1.2), 2.2, vary((50, 60, 90), rng, 25), BUILDING)
                continue
            if framed:
                stencil.box(
                    left - 0.15, bottom - 0.15, left + glass_w + 0.15, bottom + glass_h + 0.15, trim, BUILDING
                )
            stencil.box(left, bottom, left + glass_w, bottom + glass_h, pane, BUILDING)
    stencil.box(0, height_m - rng.uniform(0.2, 0.7), width_m, height_m, vary(trim, rng, 30), BUILDING)
    size = stencil.texels.shape[:2]
    grain = rng.uniform(0.02, 0.07) * smooth_noise(rng, size, 1.5)
    return modulate(stencil.texels, 1 + grain + 0.05 * smooth_noise(rng, size, 24))


def fence(rng: np.random.Generator, width_m: float, height_m: float) -> Texture:
    """A fence of posts, rails and pickets, dark between the pickets."""
    stencil = Stencil(width_m, height_m, 24)
    color = vary(
        pick(rng, ((70, 95, 125), (60, 60, 60), (185, 190, 190), (70, 85, 60), (110, 120, 125))), rng, 12
    )
    dark = vary(color, rng, 15)
    # Cityscapes labels a fence as one surface, gaps included, so the gaps are filled with shade.
    stencil.box(
        0, 0, width_m, height_m - 0.2, (color[0] // 3 + 20, color[1] // 3 + 28, color[2] // 3 + 22), FENCE
    )
    pitch = rng.uniform(0.18, 0.3)
    for left in np.arange(0, width_m, pitch):
        stencil.box(left, 0.05, left + pitch * 0.62, height_m - 0.1, color, FENCE)
    for rail in (0.25, height_m - 0.3):
        stencil.box(0, rail, width_m, rail + 0.12, dark, FENCE)
    for post in np.arange(0, width_m + 0.1, 2.0):
        stencil.box(post - 0.08, 0, post + 0.08, height_m, dark, FENCE)
    return stencil.grained(rng, 0.06)


def _leaves(rng: np.random.Generator, stencil: Stencil, blobs: list[tuple[float, float, float]]) -> Texture:
    base = vary(pick(rng, _LEAVES), rng, 12)
    for x, y, radius in blobs:
        stencil.ellipse((x, y), (radius, radius * 0.85), base, VEGETATION)
    texels = stencil.texels
    size = texels.shape[:2]
    # Ragged at the edge, mottled inside, darker below where the light does not reach.
    leafy = (texels[..., 3] == VEGETATION).astype(np.uint8)
    edge = (leafy == 1) & (cv2.erode(leafy, np.ones((5, 5), np.uint8), borderValue=0) == 0)
    texels[edge & (smooth_noise(rng, size, 3) > 0.3), 3] = HOLE
    mottle = 0.16 * smooth_noise(rng, size, 2.2) + 0.14 * smooth_noise(rng, size, 9)
    depth = np.linspace(0.22, -0.25, size[0], dtype=np.float32)[:, None]
    return modulate(texels, 1 + mottle + depth)


def tree(rng: np.random.Generator, height_m: float) -> Piece:
    """A tree whose trunk and crown are both vegetation, as in Cityscapes."""
    width_m = height_m * rng.uniform(0.55, 0.85)
    stencil = Stencil(width_m, height_m, TREE_TEXELS_PER_M)
    trunk = height_m * rng.uniform(0.28, 0.42)
    thick = 0.035 * height_m
    bark = vary((45, 60, 75), rng, 12)
    middle = width_m / 2
    thin, fork = 0.6 * thick, 1.6 * trunk
    corners = [(middle - thick, 0.0), (middle + thick, 0.0), (middle + thin, fork), (middle - thin, fork)]
    stencil.polygon(corners, bark, VEGETATION)
    crown = (height_m - trunk) / 2
    blobs = [(middle, trunk + crown, min(crown, width_m / 2) * 0.8)]
    for _ in range(int(rng.integers(6, 12))):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.65)
        x = middle + np.cos(angle) * reach * width_m / 2
        y = trunk + crown + np.sin(angle) * reach * crown
        blobs.append((float(x), float(y), float(rng.uniform(0.2, 0.34) * width_m)))
    return Piece(_leaves(rng, stencil, blobs), width_m, height_m)


def hedge(rng: np.random.Generator, width_m: float, height_m: float) -> Texture:
    """A row of bushes as wide as a plot."""
    stencil = Stencil(width_m, height_m, 14)
    step = height_m * 0.45
    blobs = [
        (float(x), float(height_m * rng.uniform(0.3, 0.55)), float(height_m * rng.uniform(0.36, 0.46)))
        for x in np.arange(0, width_m + step, step)
    ]
    stencil.box(0, 0, width_m, height_m * 0.4, vary((45, 85, 60), rng, 8), VEGETATION)
    return _leaves(rng, stencil, blobs)


def skyline(rng: np.random.Generator, width_m: float, height_m: float) -> Texture:
    """The far end of the street: trees or house backs, low in contrast."""
    if rng.random() < 0.6:
        return hedge(rng, width_m, height_m)
    stencil = Stencil(width_m, height_m, 6)
    left = 0.0
    while left < width_m:
        right = left + rng.uniform(6, 16)
        roof = height_m * rng.uniform(0.5, 1.0)
        stencil.box(left, 0, min(right, width_m), roof, vary(pick(rng, _PLASTER), rng, 10), BUILDING)
        left = right
    return stencil.grained(rng, 0.06)
