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

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


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
