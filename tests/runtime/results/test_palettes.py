"""The palette for the color-blind, as those see it who have no green or no red cones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.results.palettes import palette_of

# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB; rows R, G, B.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
CITYSCAPES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
CAMVID = (
    *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian"),
    "Bicyclist",
)
VULNERABLE = {
    *("person", "rider", "bicycle", "motorcycle", "traffic light", "traffic sign"),
    *("Pedestrian", "Bicyclist", "SignSymbol"),
}
AROUND = {
    *("road", "sidewalk", "building", "vegetation", "car", "Road", "Pavement", "Building", "Tree", "Car")
}


def lab(rgb: np.ndarray, seen_by: np.ndarray | None = None) -> np.ndarray:
    """CIELAB (D65) of sRGB bytes (N, 3), by IEC 61966-2-1."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    if seen_by is not None:
        linear = np.clip(linear @ seen_by.T, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175]]
    to_xyz.append([0.0193339, 0.119192, 0.9503041])
    xyz = linear @ np.array(to_xyz).T / (0.95047, 1.0, 1.08883)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """The difference of two colors in CIELAB, as Sharma, Wu and Dalal 2005 write CIEDE2000."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = ((a1**2 + b1**2) ** 0.5 + (a2**2 + b2**2) ** 0.5) / 2
    g = 0.5 * (1 - (mean**7 / (mean**7 + 25.0**7)) ** 0.5)
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = (a1**2 + b1**2) ** 0.5, (a2**2 + b2**2) ** 0.5
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    if turn == -180:
        turn = 180.0
    hue = 2 * (c1 * c2) ** 0.5 * np.sin(np.radians(turn / 2))
    level, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    middle = h1 + h2 if c1 * c2 == 0 else (h1 + h2) / 2
    if c1 * c2 and abs(h1 - h2) > 180:
        middle += 180 if h1 + h2 < 360 else -180
    weights = {30: (1, -0.17), 0: (2, 0.24), -6: (3, 0.32), 63: (4, -0.2)}
    t = 1 + sum(w * np.cos(np.radians(k * middle - shift)) for shift, (k, w) in weights.items())
    s_level = 1 + 0.015 * (level - 50) ** 2 / (20 + (level - 50) ** 2) ** 0.5
    s_chroma, s_hue = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    spread = 30 * np.exp(-(((middle - 275) / 25) ** 2))
    twist = -2 * (chroma**7 / (chroma**7 + 25.0**7)) ** 0.5 * np.sin(np.radians(2 * spread))
    parts = (l2 - l1) / s_level, (c2 - c1) / s_chroma, hue / s_hue
    return float((sum(part**2 for part in parts) + twist * parts[1] * parts[2]) ** 0.5)


@pytest.mark.parametrize(
    ("one", "other", "expected"),  # pairs 1, 7, 14, 17, 19 and 25 of Sharma, Wu and Dalal 2005
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, -0.001, 2.49), (50.0, 0.0011, -2.49), 4.7461),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((50.0, 2.5, 0.0), (56.0, -27.0, -3.0), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_the_difference_of_colors_is_that_of_the_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
) -> None:
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)


def colors_of(names: tuple[str, ...]) -> np.ndarray:
    """(N, 3) RGB of the palette for the color-blind."""
    classes = [SegmentationClass(name=name, color=(1, 2, 3)) for name in names]
    return palette_of(classes, "color-blind")[: len(names), ::-1].astype(float)


@pytest.mark.parametrize("names", [CITYSCAPES, CAMVID])
@pytest.mark.parametrize("seen_by", [None, DEUTERANOPIA, PROTANOPIA])
def test_the_vulnerable_stand_out_from_what_surrounds_them(
    names: tuple[str, ...], seen_by: np.ndarray | None
) -> None:
    seen = lab(colors_of(names), seen_by)
    pairs = [
        (one, other)
        for one, other in itertools.product(range(len(names)), repeat=2)
        if names[one] in VULNERABLE and names[other] in AROUND
    ]
    assert len(pairs) in (6 * 5, 3 * 5)
    differences = {(names[a], names[b]): ciede2000(seen[a], seen[b]) for a, b in pairs}
    assert min(differences.values()) >= 30, min(differences, key=lambda pair: differences[pair])


@pytest.mark.parametrize("seen_by", [None, DEUTERANOPIA, PROTANOPIA])
def test_any_two_of_its_colors_can_be_told_apart(seen_by: np.ndarray | None) -> None:
    seen = lab(colors_of(CITYSCAPES), seen_by)
    assert min(ciede2000(one, other) for one, other in itertools.combinations(seen, 2)) >= 7


def test_cityscapes_own_colors_would_not_pass() -> None:
    person, car, road, vegetation = (220, 20, 60), (0, 0, 142), (128, 64, 128), (107, 142, 35)
    light = (250, 170, 30)
    seen = lab(np.array([person, car, road, vegetation, light], float), DEUTERANOPIA)
    nearest = min(ciede2000(seen[a], seen[b]) for a in (0, 4) for b in (1, 2, 3))
    assert nearest < 20


def test_classes_of_no_street_get_colors_of_their_own_and_keep_theirs_beyond_nineteen() -> None:
    names = ("cat", "dog", "person", *(f"thing {number}" for number in range(20)))
    colors = colors_of(names)
    assert len({tuple(color) for color in colors[:19]}) == 19
    np.testing.assert_array_equal(colors[2], colors_of(("person",))[0])
    np.testing.assert_array_equal(colors[19:], np.tile((1, 2, 3), (4, 1)))
