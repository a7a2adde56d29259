"""The form of the channel attention that was not kept: energies and softmax of some rows in one program.

It writes the C x C map at once, without partial sums, but a program must run over all N positions of all C
channels: X is read once for every block of rows, and at C = 512 there are 32 blocks of 16 rows.
"""

import triton
import triton.language as tl


@triton.jit
def channel_map(
    features,
    attention,
    CHANNELS: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """softmax(-X X^T) for BLOCK_C rows against all channels, a power of two of them; grid (row blocks,)."""
    rows = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    columns = tl.arange(0, CHANNELS)
    inner = tl.arange(0, BLOCK_N)
    energy = tl.zeros([BLOCK_C, CHANNELS], tl.float32)
    for start in range(0, TOKENS, BLOCK_N):
        positions = start + inner
        inside = positions[None, :] < TOKENS
        a = tl.load(features + rows[:, None] * TOKENS + positions[None, :], mask=inside, other=0.0)
        b = tl.load(features + columns[:, None] * TOKENS + positions[None, :], mask=inside, other=0.0)
        energy = tl.dot(a, tl.trans(b), energy)
    weight = tl.exp(tl.min(energy, 1)[:, None] - energy)
    weight = weight / tl.sum(weight, 1)[:, None]
    at = attention + rows[:, None] * CHANNELS + columns[None, :]
    tl.store(at, weight.to(attention.dtype.element_ty))
