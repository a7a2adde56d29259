"""Position attention for Hopper (sm_90) whose warpgroups have a role each. It never ran on a GPU.

Two warpgroups compute, 64 queries each, and a third one loads for both. They meet at mbarriers alone: nothing
in the loop holds up the whole block, so the softmax of one group runs under the matrix products of the other
and, one block of keys ahead, of its own (as in FlashAttention-3, Shah et al., 2024). In
:mod:`danet_export.kernels.attention_blocks` all warps go in step, and the matrix units wait for them.

=========  =========================================================================================
in step n  a consumer
=========  =========================================================================================
products   asks for the energies of block n, and then for the weights of block n - 1 times its values
keys       waits for these energies alone, and gives the place of the keys back
softmax    forms the weights of block n, while the matrix units still multiply those of block n - 1
values     waits for that product, gives the place of the values back, and rescales the sums
=========  =========================================================================================

The queries stay in registers. Copies are ``cp.async`` of 16 bytes, so rows begin at multiples of 8 elements;
there is no tensor map and no cluster, which nobody could pass to a kernel inside an engine. The last block of
keys, which may be cut off, comes first: before the loop stands code of its own anyway, so the loop masks
nothing. In the end the residual comes the way that blocks of values came; the result takes its place in
shared memory, from where whole rows are written.

This is the Gluon of Triton 3.9; its names change from release to release.
"""

# Not `from __future__ import annotations`: Gluon reads the types of an aggregate's fields.

import atexit

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia import blackwell, hopper

# Triton's library keeps a class of this module for ever, and so all that its functions name: when the
# interpreter ends, nanobind would tell of hundreds of leaks.
atexit.register(vars(blackwell).clear)

LOG2_E = gl.constexpr(1.4426950408889634)

ROWS = gl.constexpr(64)
"""Queries of a consumer, the rows of a warpgroup's product; also the keys of a block."""

CONSUMERS = gl.constexpr(2)
"""Warpgroups that compute."""

LOADERS = gl.constexpr(128)
"""Threads of the producer, each of which tells of its own copies."""


@gluon.aggregate
class Ring:
    """Places for blocks in shared memory, taken in turn: block n lies at place n % STAGES.

    ``full`` has completed phase n // STAGES of that place once block n is there, and ``empty`` once nobody
    needs it any more, so that block n + STAGES may come.
    """

    places: gl.shared_memory_descriptor
    full: gl.shared_memory_descriptor
    empty: gl.shared_memory_descriptor
    STAGES: gl.constexpr

    @gluon.jit
    def wait_full(self, n):
        """Wait for block n; returns its place."""
        at = n % self.STAGES
        hopper.mbarrier.wait(self.full.index(at), n // self.STAGES & 1)
        return self.places.index(at)

    @gluon.jit
    def give_back(self, n):
        """Give the place of block n back, for the consumer that calls."""
        hopper.mbarrier.arrive(self.empty.index(n % self.STAGES))

    @gluon.jit
    def wait_empty(self, n):
        """Wait until block n may come; returns its place. In the first round every place is empty."""
        at = n % self.STAGES
        hopper.mbarrier.wait(self.empty.index(at), n // self.STAGES & 1 ^ 1)
        return self.places.index(at)

    @gluon.jit
    def announce(self, n):
        """Tell of block n once all copies that the calling threads have begun are there."""
        hopper.async_copy.mbarrier_arrive(self.full.index(n % self.STAGES), increment_count=False)

    @gluon.jit
    def announce_stores(self, n):
        """Tell of block n, which all threads of the producer have written themselves."""
        hopper.mbarrier.arrive(self.full.index(n % self.STAGES), count=LOADERS)


@gluon.jit
def _ring(places, STAGES: gl.constexpr):
    """Give places mbarriers, and initialise them."""
    full = hopper.mbarrier.allocate_mbarrier(batch=STAGES)
    empty = hopper.mbarrier.allocate_mbarrier(batch=STAGES)
    for at in gl.static_range(STAGES):
        hopper.mbarrier.init(full.index(at), count=LOADERS)
        hopper.mbarrier.init(empty.index(at), count=CONSUMERS)
    return Ring(places, full, empty, STAGES)  # type: ignore[call-arg]


@gluon.jit
def _weights(energy, highest, total):
    """Return a block's weights of the online softmax, the factor for all before, running maximum and sum."""
    new_highest = gl.maximum(highest, gl.max(energy, 1) * LOG2_E)
    weight = gl.exp2(energy * LOG2_E - gl.expand_dims(new_highest, 1))
    fade = gl.exp2(highest - new_highest)
    return weight, fade, new_highest, total * fade + gl.sum(weight, 1)


@gluon.jit
def _consume(
    queries, keys, values, output, row, TOKENS: gl.constexpr, PITCH: gl.constexpr, PART: gl.constexpr
):
    """Compute the queries of consumer PART, and all value channels of the block."""
    BLOCK_V: gl.constexpr = values.places.shape[2]
    BLOCKS: gl.constexpr = (TOKENS + ROWS - 1) // ROWS
    dtype: gl.constexpr = values.places.dtype
    of_energy: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, ROWS, 16])
    of_acc: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_V, 16])
    of_weight: gl.constexpr = gl.DotOperandLayout(0, of_acc, 2)
    of_scale: gl.constexpr = gl.SliceLayout(1, of_acc)
    nothing = gl.zeros([ROWS, ROWS], gl.float32, of_energy)
    highest = gl.full([ROWS], float("-inf"), gl.float32, gl.SliceLayout(1, of_energy))
    total = gl.zeros([ROWS], gl.float32, gl.SliceLayout(1, of_energy))
    acc = gl.zeros([ROWS, BLOCK_V], gl.float32, of_acc)

    k = keys.wait_full(0)
    q = queries.index(PART).load(gl.DotOperandLayout(0, of_energy, 2))
    hopper.fence_async_shared()
    energy = hopper.warpgroup_mma(q, k, nothing, use_acc=False)
    keys.give_back(0)
    if TOKENS % ROWS != 0:
        key = (BLOCKS - 1) * ROWS + gl.arange(0, ROWS, gl.SliceLayout(0, of_energy))
        energy = gl.where(gl.expand_dims(key, 0) < TOKENS, energy, float("-inf"))
    weight, fade, highest, total = _weights(energy, highest, total)

    for n in range(1, BLOCKS):
        w = gl.convert_layout(weight.to(dtype), of_weight)
        k = keys.wait_full(n)
        hopper.fence_async_shared()
        coming_energy = hopper.warpgroup_mma(q, k, nothing, use_acc=False, is_async=True)
        v = values.wait_full(n - 1)
        hopper.fence_async_shared()
        coming_acc = hopper.warpgroup_mma(w, v, acc, is_async=True)
        energy = hopper.warpgroup_mma_wait(1, (coming_energy,))
        keys.give_back(n)
        weight, fade, highest, total = _weights(energy, highest, total)
        acc, w = hopper.warpgroup_mma_wait(0, (coming_acc, w))  # an operand, so w stays in its registers
        values.give_back(n - 1)
        acc = acc * gl.expand_dims(gl.convert_layout(fade, of_scale), 1)
    w = gl.convert_layout(weight.to(dtype), of_weight)
    v = values.wait_full(BLOCKS - 1)
    hopper.fence_async_shared()
    acc = hopper.warpgroup_mma(w, v, acc)

    x = values.wait_full(BLOCKS + PART)
    scale = gl.expand_dims(gl.convert_layout(1.0 / total, of_scale), 1)
    x.store((acc * scale + x.load(of_acc).to(gl.float32)).to(dtype))
    _write(x, output, row + PART * ROWS, TOKENS)


@gluon.jit
def _indices(CHANNELS: gl.constexpr, AXIS: gl.constexpr, EACH: gl.constexpr):
    """Return indices of positions along AXIS, EACH (8 or 1) a thread, and of channels along the other."""
    across: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    down: gl.constexpr = gl.BlockedLayout([8, 1], [8, 4], [1, 4], [0, 1])
    one_by_one: gl.constexpr = gl.BlockedLayout([1, 1], [32, 1], [2, 2], [0, 1])
    layout: gl.constexpr = across if AXIS == 1 else down if EACH == 8 else one_by_one
    position = gl.expand_dims(gl.arange(0, ROWS, gl.SliceLayout(1 - AXIS, layout)), 1 - AXIS)
    channel = gl.expand_dims(gl.arange(0, CHANNELS, gl.SliceLayout(AXIS, layout)), AXIS)
    return position, channel


@gluon.jit
def _write(result, output, row, TOKENS: gl.constexpr):
    """Write a (ROWS, channels) block from shared memory, 64 channels at a time."""
    STEP: gl.constexpr = 64
    BLOCK_V: gl.constexpr = result.shape[1]
    position, channel = _indices(STEP, 0, 8 if TOKENS % 8 == 0 else 1)
    at = output + channel * TOKENS + row + position
    for first in gl.static_range(0, BLOCK_V, STEP):
        part = result.slice(first, STEP, 1).load(at.type.layout)
        if TOKENS % (CONSUMERS * ROWS) == 0:
            gl.store(at + first * TOKENS, part)
        else:
            gl.store(at + first * TOKENS, part, mask=row + position < TOKENS)


@gluon.jit
def _load(
    place, source, first, TOKENS: gl.constexpr, PITCH: gl.constexpr, AXIS: gl.constexpr, CUT: gl.constexpr
):
    """Begin to copy ROWS positions from ``first`` on; where CUT, zeros come for those beyond the last."""
    WIDTH: gl.constexpr = (TOKENS + 7) // 8 * 8
    position, channel = _indices(place.shape[1 - AXIS], AXIS, 8)
    at = source + channel * PITCH + first + position
    if CUT:
        hopper.async_copy.async_load(place, at, mask=first + position < WIDTH)
    else:
        hopper.async_copy.async_load(place, at)


@gluon.jit
def _load_elements(place, source, first, TOKENS: gl.constexpr):
    """Copy ROWS positions from ``first`` on through registers, of rows that may begin anywhere."""
    STEP: gl.constexpr = 8
    BLOCK_V: gl.constexpr = place.shape[1]
    position, channel = _indices(STEP, 0, 1)
    at = source + channel * TOKENS + first + position
    for start in gl.static_range(0, BLOCK_V, STEP):
        place.slice(start, STEP, 1).store(
            gl.load(at + start * TOKENS, mask=first + position < TOKENS, other=0.0)
        )


@gluon.jit
def _clear(place, FROM: gl.constexpr):
    """Put zeros into a block of values from position FROM on: a weight of zero times NaN would be NaN."""
    STEP: gl.constexpr = 16
    BLOCK_V: gl.constexpr = place.shape[1]
    position, channel = _indices(STEP, 0, 8)
    for first in gl.static_range(0, BLOCK_V, STEP):
        part = place.slice(first, STEP, 1)
        found = part.load((position + channel).type.layout)
        part.store(gl.where(position < FROM, found, gl.zeros_like(found)))


@gluon.jit
def _produce(queries, keys, values, pointers, row, TOKENS: gl.constexpr, PITCH: gl.constexpr):
    """Load the queries; the last block of keys and of values, the first, the second ...; the residual."""
    query, key, value, residual = pointers
    BLOCKS: gl.constexpr = (TOKENS + ROWS - 1) // ROWS
    LAST: gl.constexpr = (BLOCKS - 1) * ROWS
    CUT_KEYS: gl.constexpr = TOKENS % ROWS != 0
    CUT_ROWS: gl.constexpr = TOKENS % (CONSUMERS * ROWS) != 0
    PADDED: gl.constexpr = PITCH != TOKENS
    for part in gl.static_range(CONSUMERS):
        _load(queries.index(part), query, row + part * ROWS, TOKENS, PITCH, 0, CUT_ROWS)
    _load(keys.places.index(0), key, LAST, TOKENS, PITCH, 1, CUT_KEYS)
    keys.announce(0)
    _load(values.places.index(0), value, LAST, TOKENS, PITCH, 0, CUT_KEYS)
    if TOKENS % 8 == 0:
        values.announce(0)
    else:
        hopper.async_copy.commit_group()
        hopper.async_copy.wait_group(0)
        _clear(values.places.index(0), TOKENS - LAST)
        values.announce_stores(0)
    source, first = value, 0
    # One loop for values and residual, for which the producer's few registers are enough.
    for n in range(1, BLOCKS if PADDED else BLOCKS + CONSUMERS):
        if n == BLOCKS:
            source, first = residual, row
        if n < BLOCKS:
            _load(keys.wait_empty(n), key, first, TOKENS, PITCH, 1, False)
            keys.announce(n)
        _load(values.wait_empty(n), source, first, TOKENS, PITCH, 0, CUT_ROWS)
        values.announce(n)
        first += ROWS
    if PADDED:
        for part in gl.static_range(CONSUMERS):
            _load_elements(values.wait_empty(BLOCKS + part), residual, row + part * ROWS, TOKENS)
            values.announce_stores(BLOCKS + part)


@gluon.jit
def position_attention_warps(
    query,
    key,
    value,
    residual,
    output,
    TOKENS: gl.constexpr,
    PITCH: gl.constexpr,
    D_QK: gl.constexpr,
    D_V: gl.constexpr,
    BLOCK_V: gl.constexpr,
    STAGES: gl.constexpr,
    CONSUMER_REGISTERS: gl.constexpr,
    PRODUCER_REGISTERS: gl.constexpr,
):
    """Compute 128 queries and BLOCK_V value channels; grid (query blocks, channel blocks, batch).

    Rows of query, key and value begin PITCH elements apart, a multiple of 8, and the TOKENS first of each
    count: the others may be anything. Rows of residual and output are TOKENS apart.
    """
    gl.static_assert(PITCH % 8 == 0 and TOKENS <= PITCH)
    gl.static_assert(STAGES > CONSUMERS)  # the last block of values is still read when the residual comes
    batch = gl.program_id(2).to(gl.int64)
    first_v = batch * D_V + gl.program_id(1) * BLOCK_V
    query += batch * D_QK * PITCH
    key += batch * D_QK * PITCH
    value += first_v * PITCH
    residual += first_v * TOKENS
    output += first_v * TOKENS
    row = gl.program_id(0) * (CONSUMERS * ROWS)
    dtype: gl.constexpr = value.dtype.element_ty
    channels_first: gl.constexpr = gl.NVMMASharedLayout(128, 16)
    channels_last: gl.constexpr = gl.NVMMASharedLayout(128, 16, transposed=True)
    queries = gl.allocate_shared_memory(dtype, [CONSUMERS, ROWS, D_QK], channels_last)
    keys = _ring(gl.allocate_shared_memory(dtype, [STAGES, D_QK, ROWS], channels_first), STAGES)
    values = _ring(gl.allocate_shared_memory(dtype, [STAGES, ROWS, BLOCK_V], channels_last), STAGES)
    pointers = (query, key, value, residual)
    gl.warp_specialize(
        [
            (_consume, (queries, keys, values, output, row, TOKENS, PITCH, 0)),
            (_consume, (queries, keys, values, output, row, TOKENS, PITCH, 1)),
            (_produce, (queries, keys, values, pointers, row, TOKENS, PITCH)),
        ],
        [4, 4],
        [CONSUMER_REGISTERS, PRODUCER_REGISTERS],
    )
