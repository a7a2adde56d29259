"""Position attention with the channels of the values in four parts, each a product of its own.

Energies are computed once for 256 channels instead of 128: of 640 multiply-adds a pair of positions 576 are
useful, 90 %, where the bundle's kernel for sm_80 to sm_89 and sm_120 needs 768, of which they are 75 %. Each
product is no wider than high, so that the softmax stays inside a warp here too. But the sums of four parts
take the registers of two blocks of the bundle's kernel, and one block of 8 warps a multiprocessor hides less
of the memory's latency than two. Which is faster, a GPU decides.
"""

from __future__ import annotations

from dataclasses import replace

import triton
import triton.language as tl

from danet_export.kernels.architectures import Architecture
from danet_export.kernels.attention_blocks import energies, store, values, weights
from danet_export.kernels.specification import KernelSpec, LaunchOptions

PARTS = 4
PART_CHANNELS = 64


@triton.jit
def add_parts(
    q,
    key,
    value,
    rows,
    first_v,
    start,
    highest,
    total,
    acc0,
    acc1,
    acc2,
    acc3,
    TOKENS: tl.constexpr,
    PITCH: tl.constexpr,
    D_QK: tl.constexpr,
    D_V: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    TAIL: tl.constexpr,
):
    """Add one block of keys to all parts; returns running maximum, sum and the four sums of values."""
    energy = energies(q, q, key, rows, start, TOKENS, PITCH, D_QK, BLOCK_M, BLOCK_N, D_QK, TAIL)
    weight, fade, highest, total = weights(energy, highest, total)
    v = values(value, first_v, start, TOKENS, PITCH, D_V, BLOCK_N, BLOCK_V, TAIL)
    p = weight.to(v.dtype)
    acc0 = tl.dot(p, v, acc0 * fade[:, None])
    v = values(value, first_v + BLOCK_V, start, TOKENS, PITCH, D_V, BLOCK_N, BLOCK_V, TAIL)
    acc1 = tl.dot(p, v, acc1 * fade[:, None])
    v = values(value, first_v + 2 * BLOCK_V, start, TOKENS, PITCH, D_V, BLOCK_N, BLOCK_V, TAIL)
    acc2 = tl.dot(p, v, acc2 * fade[:, None])
    v = values(value, first_v + 3 * BLOCK_V, start, TOKENS, PITCH, D_V, BLOCK_N, BLOCK_V, TAIL)
    acc3 = tl.dot(p, v, acc3 * fade[:, None])
    return highest, total, acc0, acc1, acc2, acc3


@triton.jit
def attention_in_parts(
    query,
    key,
    value,
    residual,
    output,
    TOKENS: tl.constexpr,
    PITCH: tl.constexpr,
    D_QK: tl.constexpr,
    D_V: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Compute BLOCK_M queries and four times BLOCK_V channels; grid (query blocks, channel blocks, batch).

    D_QK is a power of two, and D_V a multiple of four times BLOCK_V.
    """
    batch = tl.program_id(2).to(tl.int64)
    query += batch * D_QK * PITCH
    key += batch * D_QK * PITCH
    value += batch * D_V * PITCH
    residual += batch * D_V * TOKENS
    output += batch * D_V * TOKENS
    first_v = tl.program_id(1) * (4 * BLOCK_V)
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    q_at = query + tl.arange(0, D_QK)[:, None] * PITCH + rows[None, :]
    q = tl.trans(tl.load(q_at, mask=rows[None, :] < PITCH, other=0.0))
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc0 = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    acc1 = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    acc2 = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    acc3 = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    LAST: tl.constexpr = (TOKENS - 1) // BLOCK_N * BLOCK_N
    TAIL: tl.constexpr = TOKENS % BLOCK_N != 0
    for start in range(0, LAST, BLOCK_N):
        highest, total, acc0, acc1, acc2, acc3 = add_parts(
            q,
            key,
            value,
            rows,
            first_v,
            start,
            highest,
            total,
            acc0,
            acc1,
            acc2,
            acc3,
            TOKENS,
            PITCH,
            D_QK,
            D_V,
            BLOCK_M,
            BLOCK_N,
            BLOCK_V,
            False,
        )
    highest, total, acc0, acc1, acc2, acc3 = add_parts(
        q,
        key,
        value,
        rows,
        first_v,
        LAST,
        highest,
        total,
        acc0,
        acc1,
        acc2,
        acc3,
        TOKENS,
        PITCH,
        D_QK,
        D_V,
        BLOCK_M,
        BLOCK_N,
        BLOCK_V,
        TAIL,
    )
    scale = 1.0 / total[:, None]
    store(acc0 * scale, residual, output, rows, first_v, TOKENS, D_V, BLOCK_M, BLOCK_V)
    store(acc1 * scale, residual, output, rows, first_v + BLOCK_V, TOKENS, D_V, BLOCK_M, BLOCK_V)
    store(acc2 * scale, residual, output, rows, first_v + 2 * BLOCK_V, TOKENS, D_V, BLOCK_M, BLOCK_V)
    store(acc3 * scale, residual, output, rows, first_v + 3 * BLOCK_V, TOKENS, D_V, BLOCK_M, BLOCK_V)


def parts_of(spec: KernelSpec, architecture: Architecture) -> KernelSpec | None:
    """The form in parts of a kernel of a bundle; ``None`` where warps have other matrix instructions.

    Args:
        spec: Position attention of a bundle.
        architecture: Architecture that it is for.
    """
    if architecture.capability in (75, 90, 100, 110):
        return None
    kept = ("TOKENS", "PITCH", "D_QK", "D_V", "BLOCK_M", "BLOCK_N")
    constants = {name: spec.constants[name] for name in kept}
    channels = PARTS * PART_CHANNELS
    if constants["D_V"] % channels != 0 or constants["D_QK"] != spec.constants["BLOCK_QK"]:
        return None
    return replace(
        spec,
        function=attention_in_parts,
        constants={**constants, "BLOCK_V": PART_CHANNELS},
        grid=(spec.grid[0], constants["D_V"] // channels, spec.grid[2]),
        options=LaunchOptions(warps=8, stages=2),
    )
