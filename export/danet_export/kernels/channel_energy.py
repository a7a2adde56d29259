"""Kernel for partial sums of X X^T over slices of the positions: the part of CAM that needs a kernel.

``energy[b, s] = X[b, :, slice s] X[b, :, slice s]^T`` in FP32, an ordinary output of (B, S, C, C); the
network itself adds the slices, negates, takes the softmax and multiplies with X in standard operators. The
forms that the rules (one kernel a node, no workspace) leave, at C = 512 and N = 32768 in FP16, where X is
32 MiB:

===========================  ===========  ===========  ================================================
form                         reads of X   extra bytes  why not
===========================  ===========  ===========  ================================================
MatMul with an FP32 output   of its copy  64 MiB       strongly typed: FP32 copies of X, and FP32 math
row block, softmax inside    32 (1 GiB)   0.5 MiB      16 rows a block: 32 blocks, most SMs idle
partial sums, 128x128 tiles  5 (160 MiB)  16 MiB       this one: 10 tiles x 16 slices, 160 blocks
===========================  ===========  ===========  ================================================

With the energies in place, their application is a plain (C, C) x (C, N) MatMul, for which the library's own
GEMM is the best kernel. X X^T is symmetric: only tiles on and above the diagonal are computed, 10 of 16.

How evenly 160 blocks fill a GPU follows from its multiprocessors. Where each of them holds one block, Orin's
16 and Thor's 20 take whole waves, the 132 of an H100 or H200 two, of which the second is a fifth full. There
13 slices would fit into one, of 2528 positions instead of two of 2048. But the number of slices stands in the
model file, which is the same for every GPU, and 13 would cost Orin 11 % and Thor 8 % of the kernel's time,
and give slices that are no multiple of a block. This is counted, not measured.
"""

from __future__ import annotations

import triton
import triton.language as tl

from danet_export.kernels.architectures import Architecture
from danet_export.kernels.specification import KernelSpec, LaunchOptions, blocks, next_power_of_two
from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import Sizes, slice_length


@triton.jit
def channel_energy(
    features,
    energy,
    CHANNELS: tl.constexpr,
    TOKENS: tl.constexpr,
    SLICES: tl.constexpr,
    LENGTH: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Compute one tile of one slice and its mirror image.

    The grid is (tiles on and above the diagonal, slices, batch).
    """
    pair = tl.program_id(0)
    part = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    TILES: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    row = 0
    for tile in tl.static_range(1, TILES):
        row += (pair >= tile * TILES - tile * (tile - 1) // 2).to(tl.int32)
    column = row + pair - (row * TILES - row * (row - 1) // 2)
    features += batch * CHANNELS * TOKENS
    energy += (batch * SLICES + part) * CHANNELS * CHANNELS
    rows = row * BLOCK_C + tl.arange(0, BLOCK_C)
    columns = column * BLOCK_C + tl.arange(0, BLOCK_C)
    inner = tl.arange(0, BLOCK_N)
    acc = tl.zeros([BLOCK_C, BLOCK_C], tl.float32)
    for start in range(0, LENGTH, BLOCK_N):
        positions = part * LENGTH + start + inner
        row_at = features + rows[:, None] * TOKENS + positions[None, :]
        column_at = features + columns[:, None] * TOKENS + positions[None, :]
        if CHANNELS % BLOCK_C == 0 and LENGTH % BLOCK_N == 0 and LENGTH * SLICES == TOKENS:
            a = tl.load(row_at)
            b = tl.load(column_at)
        else:
            inside = (start + inner < LENGTH) & (positions < TOKENS)
            a = tl.load(row_at, mask=(rows[:, None] < CHANNELS) & inside[None, :], other=0.0)
            b = tl.load(column_at, mask=(columns[:, None] < CHANNELS) & inside[None, :], other=0.0)
        acc = tl.dot(a, tl.trans(b), acc)
    inside = (rows[:, None] < CHANNELS) & (columns[None, :] < CHANNELS)
    tl.store(energy + rows[:, None] * CHANNELS + columns[None, :], acc, mask=inside)
    if row != column:
        inside = (columns[:, None] < CHANNELS) & (rows[None, :] < CHANNELS)
        tl.store(energy + columns[:, None] * CHANNELS + rows[None, :], tl.trans(acc), mask=inside)


def specify(sizes: Sizes, architecture: Architecture, variant: KernelVariant) -> KernelSpec:
    """Return the kernel for one problem on one architecture.

    Args:
        sizes: Sizes of the features, (batch, channels, tokens) contiguous, FP16 or BF16, and of the output,
            (batch, slices, channels, channels) contiguous, FP32.
        architecture: Architecture of the GPU.
        variant: ``tuned``, or ``small`` for at most 48 KiB of shared memory.
    """
    channels, tokens, slices = sizes["channels"], sizes["tokens"], sizes["slices"]
    block_c, block_n, options = _tile(architecture, variant, channels)
    tiles = blocks(channels, block_c)
    return KernelSpec(
        operator="ChannelEnergy",
        function=channel_energy,
        pointers={"features": None, "energy": "fp32"},
        constants={
            "CHANNELS": channels,
            "TOKENS": tokens,
            "SLICES": slices,
            "LENGTH": slice_length(tokens, slices),
            "BLOCK_C": block_c,
            "BLOCK_N": block_n,
        },
        grid=(tiles * (tiles + 1) // 2, slices, sizes["batch"]),
        options=options,
        variant=variant,
        shape=sizes,
    )


def _tile(
    architecture: Architecture, variant: KernelVariant, channels: int
) -> tuple[int, int, LaunchOptions]:
    """Return BLOCK_C, BLOCK_N and the options; benchmarks/results/kernel_resources.json has their cost.

    A tile is no larger than the channels ask for: of 32 in a tile of 128, 15 sixteenths would be zeros.
    """
    most = next_power_of_two(channels)
    if architecture.capability < 80:  # Triton has no matrix instructions there: products run on FP32 units
        return min(32, most), 32, LaunchOptions(warps=4, stages=1)
    if variant == "small" or most <= 64:
        return min(64, most), 64, LaunchOptions(warps=4, stages=2)
    if architecture.shared_memory_limit < 128 * 1024:
        return 128, 32, LaunchOptions(warps=8, stages=3)
    return 128, 64, LaunchOptions(warps=8, stages=4 if architecture.capability >= 90 else 3)
