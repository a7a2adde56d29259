"""The tiles of position attention by architecture, and the shared memory that a tile takes."""

from __future__ import annotations

from dataclasses import dataclass

from danet_export.kernels.architectures import Architecture
from danet_runtime.bundle.manifest import KernelVariant

NARROW_QK = 64
"""Most channels of queries that stay in registers beside the sums: DANet's own width."""

_BARRIERS = 256
"""Bytes of shared memory for the barriers of asynchronous matrix units and copies; the most seen are 32."""


@dataclass(frozen=True)
class Tile:
    """Tile of a problem, and launch options.

    Attributes:
        queries: BLOCK_M.
        keys: BLOCK_N, where queries are held whole and no wider than 64 channels.
        channels: BLOCK_V, channels of the values.
        warps: Warps of a block.
        stages: Stages of the pipeline over the keys.
        ahead: AHEAD, whether the energies are one block of keys ahead.
        in_registers: Whether queries and weights stay in registers.
        max_registers: Most registers of a thread; ``None`` for no limit but the hardware's.
    """

    queries: int
    keys: int
    channels: int
    warps: int
    stages: int
    ahead: bool = False
    in_registers: bool = False
    max_registers: int | None = None


def choose_tile(architecture: Architecture, variant: KernelVariant, block_qk: int, *, aligned: bool) -> Tile:
    """Return the largest tile that spills no more than a few bytes at d_qk = 64, d_v = 512.

    On sm_75 it is some hundred where rows are padded, for FP32 units take their operands from registers. The
    figures are in benchmarks/results/kernel_resources.json.

    From sm_80 on, where warps multiply by ``mma.sync``, the tile is as wide as it is high. A second product
    that is wider than high Triton cuts over the warps by keys, not by queries: every block of keys then costs
    18 barriers and a softmax that goes through shared memory, and here 2 barriers and none. 4 warps with all
    registers that a thread can have serve multiprocessors with 4 wide matrix units (sm_80, sm_87); those with
    narrower ones (sm_86, sm_89, sm_120) take 8 warps, held to 128 registers so that two blocks fit. Either
    is within 48 KiB of shared memory: ``tuned`` and ``small`` are one kernel.

    Where rows of queries, keys and values do not begin at multiples of 8 elements, addresses allow no wide
    loads and no asynchronous copies: every element passes through a register with an address of its own,
    which leaves room for half the tile. An export pads its rows
    (:func:`danet_runtime.bundle.operators.padded_tokens`).

    Args:
        architecture: Architecture of the GPU.
        variant: ``tuned``, or ``small`` for at most 48 KiB of shared memory.
        block_qk: Channels of query and key, rounded up to a power of two.
        aligned: Whether rows of queries, keys and values begin at multiples of 8 elements.
    """
    capability = architecture.capability
    if capability < 80:  # Triton has no matrix instructions there: products run on the FP32 units
        return Tile(queries=32, keys=16, channels=64 if aligned else 32, warps=4, stages=1)
    warpgroups = capability in (90, 100, 110)
    if aligned and not warpgroups and block_qk <= NARROW_QK:
        if capability in (80, 87):
            return Tile(queries=128, keys=32, channels=128, warps=4, stages=3, in_registers=True)
        return Tile(
            queries=128, keys=32, channels=128, warps=8, stages=3, in_registers=True, max_registers=128
        )
    if variant == "small":
        return Tile(queries=64, keys=32, channels=128 if aligned else 64, warps=4, stages=2)
    if not aligned:
        return Tile(queries=128, keys=64 if warpgroups else 32, channels=128, warps=8, stages=2)
    if warpgroups:
        return Tile(queries=128, keys=64, channels=256, warps=8, stages=4, ahead=True)
    return Tile(queries=128, keys=32, channels=128, warps=8, stages=3)


def most_shared_memory(tile: Tile, keys: int, block_qk: int, block_v: int, architecture: Architecture) -> int:
    """Return the most bytes that a block of the kernel takes where it holds whole queries.

    With Triton 3.9 these are the queries, the weights, and keys and values once per stage, the keys one stage
    ahead. Queries and weights that stay in registers pass through it before and between. The compiler decides
    in the end (:func:`danet_export.kernels.compiler.check_shared_memory`).
    """
    element = 2 if architecture.capability >= 80 else 4  # FP32 units are fed with FP32
    staged = tile.stages * keys * (block_qk + block_v) + keys * block_qk
    held = tile.queries * (block_qk + keys)
    return element * (max(held, staged) if tile.in_registers else held + staged) + _BARRIERS
