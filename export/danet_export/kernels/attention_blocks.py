"""Kernel for softmax(Q^T K) V + x in one pass over the keys, channels first, without storing the NxN map.

Online softmax (Milakov and Gimelshein, 2018) over blocks of keys, as in FlashAttention (Dao et al., 2022;
Dao, 2023), but unscaled and with value heads eight times as wide as the query's, which no stock kernel takes.

d_v = 512 does not fit the accumulators of one block: 128 queries x 512 channels in FP32 are all 65536
registers of a multiprocessor. So a program holds BLOCK_M queries and BLOCK_V of the value channels, and the
energies are computed once for each of the d_v / BLOCK_V programs that share a query block. With two of 256
channels (sm_90 to sm_110) that is 2 (64 + 256) = 640 multiply-adds a pair of positions where 576 would do,
11 % more; with four of 128, 4 (64 + 128) = 768, a third more, for the sake of the softmax
(:func:`danet_export.kernels.attention_tiles.choose_tile`). The alternative, 64 queries and all 512 channels,
repeats nothing, but reads every key and value twice as often: 32 multiply-adds a byte from the L2 cache
instead of 64, which Hopper's cannot feed.

DANet's queries of 64 channels stay on the multiprocessor for the whole loop. Queries too wide for that are
read again for every block of keys, some channels at a time: any d_qk fits, at the price of that traffic.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def energies(
    q,
    query,
    key,
    rows,
    start,
    TOKENS: tl.constexpr,
    PITCH: tl.constexpr,
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
    at = key + channels[:, None] * PITCH + keys[None, :]
    if BLOCK_QK < D_QK:
        q_at = query + channels[:, None] * PITCH + rows[None, :]
        energy = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for first in range(0, D_QK, BLOCK_QK):
            inside = first + channels[:, None] < D_QK
            part = tl.load(q_at + first * PITCH, mask=inside & (rows[None, :] < PITCH), other=0.0)
            k = tl.load(at + first * PITCH, mask=inside & (keys[None, :] < PITCH), other=0.0)
            energy = tl.dot(tl.trans(part), k, energy)
    else:
        if TAIL and (TOKENS // BLOCK_N + 1) * BLOCK_N > PITCH:  # rows end inside the block
            k = tl.load(at, mask=(channels[:, None] < D_QK) & (keys[None, :] < PITCH), other=0.0)
        elif BLOCK_QK != D_QK:
            k = tl.load(at, mask=channels[:, None] < D_QK, other=0.0)
        else:
            k = tl.load(at)
        energy = tl.dot(q, k)
    if TAIL:
        energy = tl.where(keys[None, :] < TOKENS, energy, float("-inf"))
    return energy


@triton.jit
def values(
    value,
    first_v,
    start,
    TOKENS: tl.constexpr,
    PITCH: tl.constexpr,
    D_V: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    TAIL: tl.constexpr,
):
    """Load one block of values, (BLOCK_N, BLOCK_V); zero beyond the last key.

    A weight of zero is not enough there: padding may hold anything, and zero times infinity is no number.
    """
    keys = start + tl.arange(0, BLOCK_N)
    channels = first_v + tl.arange(0, BLOCK_V)
    # The block's first channel goes into the base: a thread's rows are then constants apart, of one address.
    at = value + first_v * PITCH + tl.arange(0, BLOCK_V)[:, None] * PITCH + keys[None, :]
    if TAIL:
        v = tl.load(at, mask=(channels[:, None] < D_V) & (keys[None, :] < TOKENS), other=0.0)
    elif D_V % BLOCK_V != 0:
        v = tl.load(at, mask=channels[:, None] < D_V, other=0.0)
    else:
        v = tl.load(at)
    return tl.trans(v)


@triton.jit
def weights(energy, highest, total):
    """Return a block's weights of the online softmax, the factor for all before, running maximum and sum."""
    new_highest = tl.maximum(highest, tl.max(energy, 1) * LOG2_E)
    weight = tl.exp2(energy * LOG2_E - new_highest[:, None])
    fade = tl.exp2(highest - new_highest)
    return weight, fade, new_highest, total * fade + tl.sum(weight, 1)


@triton.jit
def add(
    q,
    query,
    key,
    value,
    rows,
    first_v,
    start,
    highest,
    total,
    acc,
    TOKENS: tl.constexpr,
    PITCH: tl.constexpr,
    D_QK: tl.constexpr,
    D_V: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_QK: tl.constexpr,
    BLOCK_V: tl.constexpr,
    TAIL: tl.constexpr,
):
    """Add one block of keys: return running maximum and sum, and the weighted values, with it."""
    energy = energies(q, query, key, rows, start, TOKENS, PITCH, D_QK, BLOCK_M, BLOCK_N, BLOCK_QK, TAIL)
    v = values(value, first_v, start, TOKENS, PITCH, D_V, BLOCK_N, BLOCK_V, TAIL)
    weight, fade, highest, total = weights(energy, highest, total)
    return highest, total, tl.dot(weight.to(v.dtype), v, acc * fade[:, None])


@triton.jit
def halves(block, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Part a block into its left and its right half of columns."""
    return tl.split(tl.permute(tl.reshape(block, [ROWS, 2, COLUMNS // 2]), [0, 2, 1]))


@triton.jit
def store(
    context,
    residual,
    output,
    rows,
    first_v,
    TOKENS: tl.constexpr,
    D_V: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Add the residual to (BLOCK_M, BLOCK_V) of the result, round it and store it."""
    channels = first_v + tl.arange(0, BLOCK_V)
    if TOKENS % 8 == 0:  # of one address, as in values(); elsewhere that would take more registers
        at = first_v * TOKENS + tl.arange(0, BLOCK_V)[None, :] * TOKENS + rows[:, None]
    else:
        at = channels[None, :] * TOKENS + rows[:, None]
    if TOKENS % BLOCK_M == 0 and D_V % BLOCK_V == 0:
        x = tl.load(residual + at).to(tl.float32)
        tl.store(output + at, (context + x).to(output.dtype.element_ty))
    else:
        inside = rows[:, None] < TOKENS
        if D_V % BLOCK_V != 0:
            inside = inside & (channels[None, :] < D_V)
        x = tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(output + at, (context + x).to(output.dtype.element_ty), mask=inside)


@triton.jit
def position_attention(
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
    BLOCK_QK: tl.constexpr,
    BLOCK_V: tl.constexpr,
    AHEAD: tl.constexpr,
    PEEL: tl.constexpr,
):
    """Compute BLOCK_M queries and BLOCK_V value channels; grid (query blocks, channel blocks, batch).

    Rows of query, key and value are PITCH elements apart, of which TOKENS count; those of residual and output
    are TOKENS apart.

    With PEEL the last block of keys stands outside the loop, also where it is whole: queries that are used in
    two places stay in registers, from where matrix instructions take them.

    With AHEAD the loop is one block ahead with the energies: it forms the weights of block i while the matrix
    units, asynchronous since Hopper, still add up block i - 1, and asks for the energies of block i + 1
    before it adds block i. Elsewhere that only costs registers.
    """
    batch = tl.program_id(2).to(tl.int64)
    query += batch * D_QK * PITCH
    key += batch * D_QK * PITCH
    value += batch * D_V * PITCH
    residual += batch * D_V * TOKENS
    output += batch * D_V * TOKENS
    first_v = tl.program_id(1) * BLOCK_V
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channels = tl.arange(0, BLOCK_QK)
    q_at = query + channels[:, None] * PITCH + rows[None, :]
    if BLOCK_QK < D_QK:
        q = query
    elif PITCH % BLOCK_M == 0 and BLOCK_QK == D_QK:
        q = tl.trans(tl.load(q_at))  # (BLOCK_M, BLOCK_QK)
    else:
        q = tl.trans(tl.load(q_at, mask=(channels[:, None] < D_QK) & (rows[None, :] < PITCH), other=0.0))
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)  # energy so far, times log2 e
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)

    WHOLE: tl.constexpr = TOKENS // BLOCK_N * BLOCK_N
    TAIL: tl.constexpr = WHOLE < TOKENS
    LAST: tl.constexpr = WHOLE - BLOCK_N if PEEL and not TAIL else WHOLE
    if AHEAD and WHOLE > 0:
        energy = energies(q, query, key, rows, 0, TOKENS, PITCH, D_QK, BLOCK_M, BLOCK_N, BLOCK_QK, False)
        for start in range(0, WHOLE - BLOCK_N, BLOCK_N):
            v = values(value, first_v, start, TOKENS, PITCH, D_V, BLOCK_N, BLOCK_V, False)
            weight, fade, highest, total = weights(energy, highest, total)
            energy = energies(
                q, query, key, rows, start + BLOCK_N, TOKENS, PITCH, D_QK, BLOCK_M, BLOCK_N, BLOCK_QK, False
            )
            acc = tl.dot(weight.to(v.dtype), v, acc * fade[:, None])
        v = values(value, first_v, WHOLE - BLOCK_N, TOKENS, PITCH, D_V, BLOCK_N, BLOCK_V, False)
        weight, fade, highest, total = weights(energy, highest, total)
        acc = tl.dot(weight.to(v.dtype), v, acc * fade[:, None])
    else:
        for start in range(0, LAST, BLOCK_N):
            highest, total, acc = add(
                q,
                query,
                key,
                value,
                rows,
                first_v,
                start,
                highest,
                total,
                acc,
                TOKENS,
                PITCH,
                D_QK,
                D_V,
                BLOCK_M,
                BLOCK_N,
                BLOCK_QK,
                BLOCK_V,
                False,
            )
    if LAST < TOKENS:
        highest, total, acc = add(
            q,
            query,
            key,
            value,
            rows,
            first_v,
            LAST,
            highest,
            total,
            acc,
            TOKENS,
            PITCH,
            D_QK,
            D_V,
            BLOCK_M,
            BLOCK_N,
            BLOCK_QK,
            BLOCK_V,
            TAIL,
        )

    acc = acc / total[:, None]
    if BLOCK_V < 64 or not (PEEL or TOKENS % 8 != 0):
        store(acc, residual, output, rows, first_v, TOKENS, D_V, BLOCK_M, BLOCK_V)
    else:  # a quarter at a time, since addresses of all would not fit beside the sums
        QUARTER: tl.constexpr = BLOCK_V // 4
        low, high = halves(acc, BLOCK_M, BLOCK_V)
        part0, part1 = halves(low, BLOCK_M, BLOCK_V // 2)
        store(part0, residual, output, rows, first_v, TOKENS, D_V, BLOCK_M, QUARTER)
        store(part1, residual, output, rows, first_v + QUARTER, TOKENS, D_V, BLOCK_M, QUARTER)
        part2, part3 = halves(high, BLOCK_M, BLOCK_V // 2)
        store(part2, residual, output, rows, first_v + 2 * QUARTER, TOKENS, D_V, BLOCK_M, QUARTER)
        store(part3, residual, output, rows, first_v + 3 * QUARTER, TOKENS, D_V, BLOCK_M, QUARTER)
