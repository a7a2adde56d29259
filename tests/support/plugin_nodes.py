"""A node of each operator with its input and output shapes, for the tests of plugins, in plain numbers."""

from __future__ import annotations

ATTRIBUTES = {
    "PositionAttention": {},
    "ChannelEnergy": {"slices": 4},
    "UpsampleArgmax": {"height": 48, "width": 64, "align_corners": 0},
}
INPUTS = {
    "PositionAttention": [(1, 8, 6, 8), (1, 8, 6, 8), (1, 32, 6, 8), (1, 32, 6, 8)],
    "ChannelEnergy": [(1, 32, 6, 8)],
    "UpsampleArgmax": [(1, 4, 6, 8)],
}
OUTPUTS = {"PositionAttention": (1, 32, 6, 8), "ChannelEnergy": (1, 4, 32, 32), "UpsampleArgmax": (1, 48, 64)}
