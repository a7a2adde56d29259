"""PositionAttention as a kernel: which code serves a problem on an architecture, with which tile."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import triton

from danet_export.kernels.architectures import Architecture
from danet_export.kernels.attention_blocks import position_attention
from danet_export.kernels.attention_tiles import choose_tile, most_shared_memory
from danet_export.kernels.specification import KernelSpec, LaunchOptions, blocks, next_power_of_two
from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import ROW_ALIGNMENT, Sizes

CHUNK_QK = 64
"""Channels of query and key at a time where whole queries do not fit."""

_MOST_HELD_QK = 256
"""Channels up to which sm_90 and later multiply whole queries rightly.

Beyond them Triton 3.6 to 3.9 writes the transposed operand where the descriptors of ``wgmma`` do not read
it: the compiled code is wrong by as much as its results, as its execution shows
(tests/export/kernels/executed/test_executed_kernels.py).
"""

_WARPS_CAPABILITY: Final = 90
_WARPS_QK: Final = (16, 32, 64)
_WARPS_V: Final = (64, 128, 256)
_GLUON: Final = "3.9."
"""Releases of Triton whose Gluon :mod:`danet_export.kernels.attention_warps` is written in."""


def specify(sizes: Sizes, architecture: Architecture, variant: KernelVariant) -> KernelSpec:
    """Return the kernel for one problem on one architecture.

    The ``tuned`` one of sm_90 is that of :mod:`danet_export.kernels.attention_warps` where
    :func:`suits_warps` says so; it never ran on a GPU. All others are :func:`specify_blocks`.

    Args:
        sizes: As for :func:`specify_blocks`.
        architecture: Architecture of the GPU.
        variant: ``tuned``, or ``small`` for at most 48 KiB of shared memory.
    """
    if variant == "tuned" and suits_warps(sizes, architecture):
        return specify_warps(sizes)
    return specify_blocks(sizes, architecture, variant)


def suits_warps(sizes: Sizes, architecture: Architecture) -> bool:
    """Return whether the kernel whose warps have roles serves a problem.

    It takes queries of 16, 32 or 64 channels, values of 64, 128 or a multiple of 256, and rows that begin at
    multiples of 8 elements.
    """
    return (
        architecture.capability == _WARPS_CAPABILITY
        and sizes["d_qk"] in _WARPS_QK
        and (sizes["d_v"] in _WARPS_V or sizes["d_v"] % _WARPS_V[-1] == 0)
        and sizes.get("pitch", sizes["tokens"]) % 8 == 0
        and triton.__version__.startswith(_GLUON)
    )


def specify_warps(sizes: Sizes) -> KernelSpec:
    """Return the kernel of two consumer warpgroups and a producer, for sizes that suit it."""
    from danet_export.kernels.attention_warps import position_attention_warps  # not with every Triton

    tokens, d_v = sizes["tokens"], sizes["d_v"]
    block_v = min(d_v, _WARPS_V[-1])
    return KernelSpec(
        operator="PositionAttention",
        function=position_attention_warps,
        pointers=dict.fromkeys(("query", "key", "value", "residual", "output")),
        constants={
            "TOKENS": tokens,
            "PITCH": sizes.get("pitch", tokens),
            "D_QK": sizes["d_qk"],
            "D_V": d_v,
            "BLOCK_V": block_v,
            "STAGES": 4,
            # 2 x 240 + 24 are the 504 registers that Triton gives three warpgroups to share.
            "CONSUMER_REGISTERS": 240,
            "PRODUCER_REGISTERS": 24,
        },
        grid=(blocks(tokens, 128), d_v // block_v, sizes["batch"]),
        options=LaunchOptions(warps=4, stages=1, workers=8),
        variant="tuned",
        shape=sizes,
    )


def specify_blocks(sizes: Sizes, architecture: Architecture, variant: KernelVariant) -> KernelSpec:
    """Return the kernel whose warps go in step, for any problem on any architecture.

    Args:
        sizes: Sizes of query and key, (batch, d_qk, tokens), and of value, residual and output, (batch, d_v,
            tokens); all of them contiguous, FP16 or BF16, with any number of channels. With ``pitch``, rows
            of query, key and value are that long, and what they hold behind the positions is padding.
        architecture: Architecture of the GPU.
        variant: ``tuned``, or ``small`` for at most 48 KiB of shared memory.
    """
    tokens, d_qk, d_v = sizes["tokens"], sizes["d_qk"], sizes["d_v"]
    pitch = sizes.get("pitch", tokens)
    block_qk = next_power_of_two(d_qk)
    tile = choose_tile(architecture, variant, block_qk, aligned=pitch % ROW_ALIGNMENT == 0)
    block_v = min(tile.channels, next_power_of_two(d_v))
    block_n = max(16, tile.keys * 64 // max(64, block_qk))  # wider queries and keys: fewer keys at once
    held = most_shared_memory(tile, block_n, block_qk, block_v, architecture)
    miscompiled = architecture.capability in (90, 100, 110) and block_qk > _MOST_HELD_QK
    if miscompiled or held > architecture.shared_memory_of(variant):
        block_qk, block_n, tile = CHUNK_QK, tile.keys, replace(tile, ahead=False)
    return KernelSpec(
        operator="PositionAttention",
        function=position_attention,
        pointers=dict.fromkeys(("query", "key", "value", "residual", "output")),
        constants={
            "TOKENS": tokens,
            "PITCH": pitch,
            "D_QK": d_qk,
            "D_V": d_v,
            "BLOCK_M": tile.queries,
            "BLOCK_N": block_n,
            "BLOCK_QK": block_qk,
            "BLOCK_V": block_v,
            "AHEAD": tile.ahead,
            "PEEL": tile.in_registers,
        },
        grid=(blocks(tokens, tile.queries), blocks(d_v, block_v), sizes["batch"]),
        options=LaunchOptions(tile.warps, tile.stages, max_registers=tile.max_registers),
        variant=variant,
        shape=sizes,
    )
