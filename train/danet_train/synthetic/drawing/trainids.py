"""The train ids of Cityscapes that the scenes use, by name."""

from __future__ import annotations

from danet_train.classes import CITYSCAPES, IGNORE

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN = range(10)
SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(10, 19)
UNLABELLED = IGNORE

_NAMES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain "
    "sky person rider car truck bus train motorcycle bicycle"
)
if tuple(_NAMES.split()) != tuple(name.replace(" ", "_") for name in CITYSCAPES.names):
    raise ImportError("cityscapesscripts orders its classes otherwise than this module; install version 2.x")
