"""Kernel for softmax(Q^T K) V + x in one pass over the keys, channels first, without storing the NxN map.

Online softmax (Milakov and Gimelshein, 2018) over blocks of keys, as in FlashAttention (Dao et al., 2022;
Dao, 2023), but unscaled and with value heads eight times as wide as the query's, which no stock kernel takes.

d_v = 512 does not fit the accumulators of one block: 128 queries x 512 channels in FP32 are all 65536
registers of a multiprocessor. So a program holds BLOCK_M queries and BLOCK_V of the value channels, and the
energies are computed once for each of the d_v / BLOCK_V programs that share a query block. With two of 256
channels that is 2 (64 + 256) = 640 multiply-adds a pair of positions where 576 would do, 11 % more. The
alternative, 64 queries and all 512 channels, repeats nothing, but reads every key and value twice as often:
32 multiply-adds a byte from the L2 cache instead of 64, which Hopper's cannot feed.

DANet's queries of 64 channels stay on the multiprocessor for the whole loop. Queries too wide for that are
read again for every block of keys, some channels at a time: any d_qk fits, at the price of that traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import triton
import triton.language as tl

from danet_export.kernels.architectures import Architecture
from danet_export.kernels.specification import KernelSpec, LaunchOptions, blocks, next_power_of_two
from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import Sizes

LOG2_E = tl.constexpr(1.4426950408889634)

CHUNK_QK = 64
"""Channels of query and key at a time where whole queries do not fit."""

_MOST_HELD_QK = 256
"""Channels up to which sm_90 and later multiply whole queries rightly.

Beyond them Triton 3.6 to 3.9 writes the transposed operand where the descriptors of ``wgmma`` do not read
it: the compiled code is wrong by as much as its results, as its execution shows
(tests/export/kernels/executed/test_executed_kernels.py).
"""

_BARRIERS = 256
"""Bytes of shared memory for the barriers of asynchronous matrix units and copies; the most seen are 32."""


@triton.jit
def _energies(
    q,
    query,
    key,
    rows,
    start,
    TOKENS: tl.constexpr,
    D_QK: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_QK: tl.constexpr,
    TAIL: tl.constexpr,
):
    """Compute Q^T K for one block of keys, (BLOCK_M, BLOCK_N) FP32; minus infinity beyond the last key.

    ``q`` is the block of queries, (BLOCK_M, BLOCK_QK), where BLOCK_QK holds all channels. Otherwise it is not
    used: the channels come from ``query`` in chunks of BLOCK_QK.
    """
    keys = start + tl.arange(0, BLOCK_N)
    channels = tl.arange(0, BLOCK_QK)
    at = key + channels[:, None] * TOKENS + keys[None, :]
    if BLOCK_QK < D_QK:
        q_at = query + channels[:, None] * TOKENS + rows[None, :]
        energy = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for first in range(0, D_QK, BLOCK_QK):
            inside = first + channels[:, None] < D_QK
            part = tl.load(q_at + first * TOKENS, mask=inside & (rows[None, :] < TOKENS), other=0.0)
            k = tl.load(at + first * TOKENS, mask=inside & (keys[None, :] < TOKENS), other=0.0)
            energy = tl.dot(tl.trans(part), k, energy)
    else:
        if TAIL or BLOCK_QK != D_QK:
            k = tl.load(at, mask=(channels[:, None] < D_QK) & (keys[None, :] < TOKENS), other=0.0)
        else:
            k = tl.load(at)
        energy = tl.dot(q, k)
    if TAIL:
        energy = tl.where(keys[None, :] < TOKENS, energy, float("-inf"))
    return energy


@triton.jit
def _values(
    value,
    first_v,
    start,
    TOKENS: tl.constexpr,
    D_V: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    TAIL: tl.constexpr,
):
    """Load one block of values, (BLOCK_N, BLOCK_V); zero beyond the last key."""
    keys = start + tl.arange(0, BLOCK_N)
    channels = first_v + tl.arange(0, BLOCK_V)
    at = value + channels[:, None] * TOKENS + keys[None, :]
    if TAIL or D_V % BLOCK_V != 0:
        v = tl.load(at, mask=(channels[:, None] < D_V) & (keys[None, :] < TOKENS), other=0.0)
    else:
        v = tl.load(at)
    return tl.trans(v)


@triton.jit
def _weights(energy, highest, total):
    """Return a block's weights of the online softmax, the factor for all before, running maximum and sum."""
    new_highest = tl.maximum(highest, tl.max(energy, 1) * LOG2_E)
    weight = tl.exp2(energy * LOG2_E - new_highest[:, None])
    fade = tl.exp2(highest - new_highest)
    return weight, fade, new_highest, total * fade + tl.sum(weight, 1)


@triton.jit
def position_attention(
    query,
    key,
    value,
    residual,
    output,
    TOKENS: tl.constexpr,
    D_QK: tl.constexpr,
    D_V: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_QK: tl.constexpr,
    BLOCK_V: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Compute BLOCK_M queries and BLOCK_V value channels; grid (query blocks, channel blocks, batch).

    With AHEAD the loop is one block ahead with the energies: it forms the weights of block i while the matrix
    units, asynchronous since Hopper, still add up block i - 1, and asks for the energies of block i + 1
    before it adds block i. Elsewhere that only costs registers.
    """
    batch = tl.program_id(2).to(tl.int64)
    query += batch * D_QK * TOKENS
    key += batch * D_QK * TOKENS
    value += batch * D_V * TOKENS
    residual += batch * D_V * TOKENS
    output += batch * D_V * TOKENS
    first_v = tl.program_id(1) * BLOCK_V
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channels = tl.arange(0, BLOCK_QK)
    q_at = query + channels[:, None] * TOKENS + rows[None, :]
    if BLOCK_QK < D_QK:
        q = query
    elif TOKENS % BLOCK_M == 0 and BLOCK_QK == D_QK:
        q = tl.trans(tl.load(q_at))  # (BLOCK_M, BLOCK_QK)
    else:
        q = tl.trans(tl.load(q_at, mask=(channels[:, None] < D_QK) & (rows[None, :] < TOKENS), other=0.0))
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)  # energy so far, times log2 e
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)

    WHOLE: tl.constexpr = TOKENS // BLOCK_N * BLOCK_N
    if AHEAD and WHOLE > 0:
        energy = _energies(q, query, key, rows, 0, TOKENS, D_QK, BLOCK_M, BLOCK_N, BLOCK_QK, False)
        for start in range(0, WHOLE - BLOCK_N, BLOCK_N):
            v = _values(value, first_v, start, TOKENS, D_V, BLOCK_N, BLOCK_V, False)
            weight, fade, highest, total = _weights(energy, highest, total)
            energy = _energies(
                q, query, key, rows, start + BLOCK_N, TOKENS, D_QK, BLOCK_M, BLOCK_N, BLOCK_QK, False
            )
            acc = tl.dot(weight.to(v.dtype), v, acc * fade[:, None])
        v = _values(value, first_v, WHOLE - BLOCK_N, TOKENS, D_V, BLOCK_N, BLOCK_V, False)
        weight, fade, highest, total = _weights(energy, highest, total)
        acc = tl.dot(weight.to(v.dtype), v, acc * fade[:, None])
    else:
        for start in range(0, WHOLE, BLOCK_N):
            energy = _energies(q, query, key, rows, start, TOKENS, D_QK, BLOCK_M, BLOCK_N, BLOCK_QK, False)
            v = _values(value, first_v, start, TOKENS, D_V, BLOCK_N, BLOCK_V, False)
            weight, fade, highest, total = _weights(energy, highest, total)
            acc = tl.dot(weight.to(v.dtype), v, acc * fade[:, None])
    if WHOLE < TOKENS:
        energy = _energies(q, query, key, rows, WHOLE, TOKENS, D_QK, BLOCK_M, BLOCK_N, BLOCK_QK, True)
        v = _values(value, first_v, WHOLE, TOKENS, D_V, BLOCK_N, BLOCK_V, True)
        weight, fade, highest, total = _weights(energy, highest, total)
        acc = tl.dot(weight.to(v.dtype), v, acc * fade[:, None])

    value_channels = first_v + tl.arange(0, BLOCK_V)
    at = value_channels[None, :] * TOKENS + rows[:, None]
    if TOKENS % BLOCK_M == 0 and D_V % BLOCK_V == 0:
        x = tl.load(residual + at).to(tl.float32)
        tl.store(output + at, (acc / total[:, None] + x).to(output.dtype.element_ty))
    else:
        inside = (rows[:, None] < TOKENS) & (value_channels[None, :] < D_V)
        x = tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(output + at, (acc / total[:, None] + x).to(output.dtype.element_ty), mask=inside)


@dataclass(frozen=True)
class Tile:
    """Tile of a problem: BLOCK_M queries, BLOCK_N keys, BLOCK_V value channels, and launch options."""

    queries: int
    keys: int
    channels: int
    warps: int
    stages: int
    ahead: bool = False


def specify(sizes: Sizes, architecture: Architecture, variant: KernelVariant) -> KernelSpec:
    """Return the kernel for one problem on one architecture.

    Args:
        sizes: Sizes of query and key, (batch, d_qk, tokens), and of value, residual and output, (batch, d_v,
            tokens); all of them contiguous, FP16 or BF16, with any number of channels.
        architecture: Architecture of the GPU.
        variant: ``tuned``, or ``small`` for at most 48 KiB of shared memory.
    """
    tokens, d_qk, d_v = sizes["tokens"], sizes["d_qk"], sizes["d_v"]
    tile = _tile(architecture, variant, aligned=tokens % 8 == 0)
    block_v = min(tile.channels, next_power_of_two(d_v))
    block_qk = next_power_of_two(d_qk)
    block_n = max(16, tile.keys * 64 // max(64, block_qk))  # wider queries and keys: fewer keys at once
    held = _most_shared_memory(tile, block_n, block_qk, block_v, architecture)
    miscompiled = architecture.capability in (90, 100, 110) and block_qk > _MOST_HELD_QK
    if miscompiled or held > architecture.shared_memory_of(variant):
        block_qk, block_n, tile = CHUNK_QK, tile.keys, replace(tile, ahead=False)
    return KernelSpec(
        operator="PositionAttention",
        function=position_attention,
        pointers=dict.fromkeys(("query", "key", "value", "residual", "output")),
        constants={
            "TOKENS": tokens,
            "D_QK": d_qk,
            "D_V": d_v,
            "BLOCK_M": tile.queries,
            "BLOCK_N": block_n,
            "BLOCK_QK": block_qk,
            "BLOCK_V": block_v,
            "AHEAD": tile.ahead,
        },
        grid=(blocks(tokens, tile.queries), blocks(d_v, block_v), sizes["batch"]),
        options=LaunchOptions(tile.warps, tile.stages),
        variant=variant,
        shape=sizes,
    )


def _most_shared_memory(
    tile: Tile, keys: int, block_qk: int, block_v: int, architecture: Architecture
) -> int:
    """Return the most bytes that a block of the kernel takes where it holds whole queries.

    With Triton 3.9 these are the queries, the weights, and keys and values once per stage, the keys one stage
    ahead. The compiler decides in the end (:func:`danet_export.kernels.compiler.check_shared_memory`).
    """
    element = 2 if architecture.capability >= 80 else 4  # FP32 units are fed with FP32
    staged = keys * (block_qk + block_v)
    return element * (tile.queries * (block_qk + keys) + tile.stages * staged + keys * block_qk) + _BARRIERS


def _tile(architecture: Architecture, variant: KernelVariant, *, aligned: bool) -> Tile:
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
