"""The tiles of position attention by architecture, and the shared memory that a tile takes."""

from __future__ import annotations

from dataclasses import dataclass

from danet_export.kernels.architectures import Architecture
from danet_runtime.bundle.manifest import KernelVariant

_BARRIERS = 256
"""Bytes of shared memory for the barriers of asynchronous matrix units and copies; the most seen are 32."""


@dataclass(frozen=True)
class Tile:
    """Tile of a problem: BLOCK_M queries, BLOCK_N keys, BLOCK_V value channels, and launch options."""

    queries: int
    keys: int
    channels: int
    warps: int
    stages: int
    ahead: bool = False


def choose_tile(architecture: Architecture, variant: KernelVariant, *, aligned: bool) -> Tile:
    """Return the largest tile without spills at d_qk = 64, d_v = 512.

    The figures are in benchmarks/results/kernel_resources.json.

    The one exception is sm_75 where N is no multiple of 8: there a smaller tile still spills 368 bytes, for
    FP32 units take their operands from registers.

    Where N is no multiple of 8, rows begin at addresses that allow no wide loads and no asynchronous copies:
    every element passes through a register with an address of its own, which leaves room for half the
    channels.
    """
    capability = architecture.capability
    if capability < 80:  # Triton has no matrix instructions there: products run on the FP32 units
        return Tile(queries=32, keys=16, channels=64 if aligned else 32, warps=4, stages=1)
    if variant == "small":
        return Tile(queries=64, keys=32, channels=128 if aligned else 64, warps=4, stages=2)
    if not aligned:
        keys = 64 if capability in (90, 100, 110) else 32
        return Tile(queries=128, keys=keys, channels=128, warps=8, stages=2)
    if capability in (90, 100, 110):
        return Tile(queries=128, keys=64, channels=256, warps=8, stages=4, ahead=True)
    return Tile(queries=128, keys=32, channels=256, warps=8, stages=3)


def most_shared_memory(tile: Tile, keys: int, block_qk: int, block_v: int, architecture: Architecture) -> int:
    """Return the most bytes that a block of the kernel takes where it holds whole queries.

    With Triton 3.9 these are the queries, the weights, and keys and values once per stage, the keys one stage
    ahead. The compiler decides in the end (:func:`danet_export.kernels.compiler.check_shared_memory`).
    """
    element = 2 if architecture.capability >= 80 else 4  # FP32 units are fed with FP32
    staged = keys * (block_qk + block_v)
    return element * (tile.queries * (block_qk + keys) + tile.stages * staged + keys * block_qk) + _BARRIERS
