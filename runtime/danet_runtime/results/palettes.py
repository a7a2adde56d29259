"""The colors of classes: those of the bundle, or a set that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.frames.arrays import UInt8Array

PaletteName = Literal["bundle", "color-blind"]
RGB: TypeAlias = tuple[int, int, int]


_COLORS: Final[dict[str, RGB]] = {
    "person": (255, 255, 66),
    "car": (24, 60, 190),
    "rider": (245, 121, 0),
    "vegetation": (20, 84, 72),
    "sky": (149, 198, 250),
    "road": (72, 69, 94),
    "light": (255, 218, 137),
    "bus": (59, 142, 231),
    "bicycle": (240, 154, 114),
    "building": (88, 73, 51),
    "motorcycle": (255, 249, 204),
    "train": (0, 40, 110),
    "sign": (250, 189, 0),
    "sidewalk": (116, 110, 140),
    "pole": (190, 179, 193),
    "truck": (0, 111, 171),
    "terrain": (92, 103, 71),
    "fence": (151, 129, 135),
    "wall": (116, 111, 101),
}
"""Colors for the color-blind: who is vulnerable bright and warm, what surrounds them dark or blue.

Between the vulnerable (persons, riders, bicycles, motorcycles, traffic lights and signs) and road, sidewalk,
building, vegetation and car CIEDE2000 is at least 30, as seen with and without deuteranopia and protanopia
(Machado and others 2009, severity 1); between any two of these colors it is at least 7.
"""

_SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "person": ("pedestrian", "people", "human", "child"),
    "rider": ("bicyclist", "cyclist", "motorcyclist"),
    "bicycle": ("bike", "minibike"),
    "motorcycle": ("motorbike", "motorcyclescooter", "scooter"),
    "light": ("trafficlight",),
    "sign": ("trafficsign", "signsymbol", "signboard"),
    "vegetation": ("tree", "trees", "plant"),
    "sidewalk": ("pavement",),
    "terrain": ("grass", "earth", "field"),
    "pole": ("columnpole",),
    "truck": ("trucksbus", "suvpickuptruck"),
}


def palette_of(classes: Sequence[SegmentationClass], name: PaletteName = "bundle") -> UInt8Array:
    """(256, 3) uint8 BGR, one color a label, black where there is no class; read-only.

    Args:
        classes: The bundle's classes.
        name: ``bundle``: the classes' own colors; ``color-blind``: colors that stay apart for those who see
            no red or no green, by the names of the classes. Names that are not of the street get the colors
            that are left, and beyond nineteen classes their own.
    """
    palette = np.zeros((256, 3), np.uint8)
    colors = [entry.color for entry in classes] if name == "bundle" else _told_apart(classes)
    for label, color in enumerate(colors):
        palette[label] = color[::-1]  # the manifest has RGB
    palette.flags.writeable = False
    return palette


def _told_apart(classes: Sequence[SegmentationClass]) -> list[RGB]:
    by_word = {word: kind for kind, words in _SYNONYMS.items() for word in words}
    chosen: dict[int, str] = {}
    for label, entry in enumerate(classes):
        word = "".join(letter for letter in entry.name.casefold() if letter.isalnum())
        kind = by_word.get(word, word)
        if kind in _COLORS and kind not in chosen.values():
            chosen[label] = kind
    left = [kind for kind in _COLORS if kind not in chosen.values()]
    for label in range(len(classes)):
        if label not in chosen and left:
            chosen[label] = left.pop(0)
    return [_COLORS[chosen[label]] if label in chosen else entry.color for label, entry in enumerate(classes)]
