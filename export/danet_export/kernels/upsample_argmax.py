"""Kernel for bilinear upsampling and argmax in one pass, without storing the upsampled logits.

Coordinates are rational numbers, taken apart exactly in integers: output position o of a grid of ``out`` lies
at ((2 o + 1) in - out) / (2 out) of a grid of ``in``, or at o (in - 1) / (out - 1) with aligned corners. Its
whole part is the cell and its rest, divided once in FP32, the weight. FP32 positions, as PyTorch and ONNX
Runtime form them, lose bits of the weight to the whole part; where the ratio is a power of two (8 here, also
for 97 -> 769 with aligned corners) both give the same weights to the last bit.

Interpolation is in FP32, horizontal first, every product and sum rounded by itself (multiply-add is not fused
here), so that NumPy's FP32 arithmetic reproduces it exactly: ``danet_export.ops.upsample_argmax.reference``.

Where four rows of labels always lie between the same two rows of logits (:func:`shares_rows`: at ratios of
8 and 16, and with aligned corners of 4), one thread takes a pixel in each of the four, and interpolates
horizontally once for them: 12.8 instructions a pixel and class instead of 30, and a quarter of the loads.
The products, sums and roundings are the same, and so are the labels, to the bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

from danet_export.kernels.architectures import Architecture
from danet_export.kernels.specification import KernelSpec, LaunchOptions, blocks
from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import Sizes

_SHARED_ROWS = 4
"""Rows of labels that a program computes."""

_BLOCK_W = 128
"""Columns of labels that a program computes."""


@triton.jit
def _cell(out, IN: tl.constexpr, OUT: tl.constexpr, ALIGN_CORNERS: tl.constexpr):
    """Return the two samples around an output position, and the weight of the second."""
    DENOMINATOR: tl.constexpr = (OUT - 1 if OUT > 1 else 1) if ALIGN_CORNERS else 2 * OUT
    if ALIGN_CORNERS:  # noqa: SIM108 - Triton compiles one of the two
        numerator = out * (IN - 1)
    else:
        numerator = tl.maximum((2 * out + 1) * IN - OUT, 0)
    low = numerator // DENOMINATOR
    rest = (numerator - low * DENOMINATOR).to(tl.float32)
    weight = tl.math.div_rn(rest, tl.full(rest.shape, DENOMINATOR, tl.float32))
    low = tl.minimum(low, IN - 1)
    return low, tl.minimum(low + 1, IN - 1), weight


@triton.jit
def upsample_argmax(
    logits,
    labels,
    CLASSES: tl.constexpr,
    LOGITS_HEIGHT: tl.constexpr,
    LOGITS_WIDTH: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """Compute one tile of labels; grid (tiles across, tiles down, batch)."""
    batch = tl.program_id(2).to(tl.int64)
    x = tl.program_id(0) * BLOCK_W + tl.arange(0, BLOCK_W)
    y = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    left, right, from_left = _cell(tl.minimum(x, WIDTH - 1), LOGITS_WIDTH, WIDTH, ALIGN_CORNERS)
    above, below, from_above = _cell(tl.minimum(y, HEIGHT - 1), LOGITS_HEIGHT, HEIGHT, ALIGN_CORNERS)
    w1 = from_left[None, :]
    w0 = 1.0 - w1
    h1 = from_above[:, None]
    h0 = 1.0 - h1
    above_left = above[:, None] * LOGITS_WIDTH + left[None, :]
    above_right = above[:, None] * LOGITS_WIDTH + right[None, :]
    below_left = below[:, None] * LOGITS_WIDTH + left[None, :]
    below_right = below[:, None] * LOGITS_WIDTH + right[None, :]
    plane = logits + batch * CLASSES * LOGITS_HEIGHT * LOGITS_WIDTH
    highest = tl.full([BLOCK_H, BLOCK_W], float("-inf"), tl.float32)
    winner = tl.zeros([BLOCK_H, BLOCK_W], tl.int32)
    for index in range(CLASSES):
        a = tl.load(plane + above_left).to(tl.float32)
        b = tl.load(plane + above_right).to(tl.float32)
        c = tl.load(plane + below_left).to(tl.float32)
        d = tl.load(plane + below_right).to(tl.float32)
        score = h0 * (w0 * a + w1 * b) + h1 * (w0 * c + w1 * d)
        better = score > highest  # a later class must be strictly better: ties stay with the lowest
        highest = tl.where(better, score, highest)
        winner = tl.where(better, index, winner)
        plane += LOGITS_HEIGHT * LOGITS_WIDTH
    at = labels + batch * HEIGHT * WIDTH + y[:, None] * WIDTH + x[None, :]
    inside = (y[:, None] < HEIGHT) & (x[None, :] < WIDTH)
    tl.store(at, winner.to(tl.float32).to(labels.dtype.element_ty), mask=inside)


@triton.jit
def _row_weight(y, LOGITS_HEIGHT: tl.constexpr, HEIGHT: tl.constexpr, ALIGN_CORNERS: tl.constexpr):
    """Return the samples above and below one row of labels, and the weight of the lower, (1,) each."""
    row = tl.minimum(y + tl.zeros([1], tl.int32), HEIGHT - 1)
    return _cell(row, LOGITS_HEIGHT, HEIGHT, ALIGN_CORNERS)


@triton.jit
def _better(highest, winner, top, bottom, from_above, index):
    """Return the higher score of one row so far, and its class."""
    score = (1.0 - from_above) * top + from_above * bottom
    better = score > highest  # a later class must be strictly better: ties stay with the lowest
    return tl.where(better, score, highest), tl.where(better, index, winner)


@triton.jit
def _write_row(labels, winner, x, y, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Store one row of labels."""
    value = winner.to(tl.float32).to(labels.dtype.element_ty)
    row = y + tl.zeros_like(x)
    tl.store(labels + row * WIDTH + x, value, mask=(x < WIDTH) & (row < HEIGHT))


@triton.jit
def upsample_argmax_of_four_rows(
    logits,
    labels,
    CLASSES: tl.constexpr,
    LOGITS_HEIGHT: tl.constexpr,
    LOGITS_WIDTH: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """Compute four rows of labels between two rows of logits; grid (tiles across, rows / 4, batch)."""
    batch = tl.program_id(2).to(tl.int64)
    x = tl.program_id(0) * BLOCK_W + tl.arange(0, BLOCK_W)
    y = tl.program_id(1) * 4
    left, right, from_left = _cell(tl.minimum(x, WIDTH - 1), LOGITS_WIDTH, WIDTH, ALIGN_CORNERS)
    above, below, weight0 = _row_weight(y, LOGITS_HEIGHT, HEIGHT, ALIGN_CORNERS)
    _, _, weight1 = _row_weight(y + 1, LOGITS_HEIGHT, HEIGHT, ALIGN_CORNERS)
    _, _, weight2 = _row_weight(y + 2, LOGITS_HEIGHT, HEIGHT, ALIGN_CORNERS)
    _, _, weight3 = _row_weight(y + 3, LOGITS_HEIGHT, HEIGHT, ALIGN_CORNERS)
    w1 = from_left
    w0 = 1.0 - w1
    plane = logits + batch * CLASSES * LOGITS_HEIGHT * LOGITS_WIDTH
    highest0 = tl.full([BLOCK_W], float("-inf"), tl.float32)
    highest1 = highest0
    highest2 = highest0
    highest3 = highest0
    winner0 = tl.zeros([BLOCK_W], tl.int32)
    winner1 = winner0
    winner2 = winner0
    winner3 = winner0
    for index in range(CLASSES):
        a = tl.load(plane + (above * LOGITS_WIDTH + left)).to(tl.float32)
        b = tl.load(plane + (above * LOGITS_WIDTH + right)).to(tl.float32)
        c = tl.load(plane + (below * LOGITS_WIDTH + left)).to(tl.float32)
        d = tl.load(plane + (below * LOGITS_WIDTH + right)).to(tl.float32)
        top = w0 * a + w1 * b
        bottom = w0 * c + w1 * d
        highest0, winner0 = _better(highest0, winner0, top, bottom, weight0, index)
        highest1, winner1 = _better(highest1, winner1, top, bottom, weight1, index)
        highest2, winner2 = _better(highest2, winner2, top, bottom, weight2, index)
        highest3, winner3 = _better(highest3, winner3, top, bottom, weight3, index)
        plane += LOGITS_HEIGHT * LOGITS_WIDTH
    labels += batch * HEIGHT * WIDTH
    _write_row(labels, winner0, x, y, HEIGHT, WIDTH)
    _write_row(labels, winner1, x, y + 1, HEIGHT, WIDTH)
    _write_row(labels, winner2, x, y + 2, HEIGHT, WIDTH)
    _write_row(labels, winner3, x, y + 3, HEIGHT, WIDTH)


def shares_rows(logits_height: int, height: int, *, align_corners: bool) -> bool:
    """Return whether each four rows of labels, from a multiple of four on, lie between two rows of logits.

    With pixel centres at halves the rows of logits lie ratio / 2 below a multiple of the ratio, so four must
    divide ratio / 2; with aligned corners they lie at multiples of (height - 1) / (logits_height - 1).
    """
    if align_corners:
        cells = logits_height - 1
        return cells > 0 and (height - 1) % cells == 0 and (height - 1) // cells % _SHARED_ROWS == 0
    return height % logits_height == 0 and height // logits_height % (2 * _SHARED_ROWS) == 0


def specify(sizes: Sizes, _architecture: Architecture, variant: KernelVariant) -> KernelSpec:
    """Return the kernel for one problem, the same in both variants and for every architecture.

    It keeps nothing in shared memory by itself; Triton 3.6 exchanges some registers through it.

    Args:
        sizes: Sizes of the logits, (batch, classes, logits_height, logits_width) contiguous, FP16 or BF16,
            all of them finite, and of the labels, (batch, height, width), of the logits' type;
            ``align_corners``: whether the outermost samples of both grids coincide, or their outer edges.
        variant: Variant, which decides only how much shared memory is allowed.
    """
    align_corners = bool(sizes["align_corners"])
    shared = shares_rows(sizes["logits_height"], sizes["height"], align_corners=align_corners)
    return KernelSpec(
        operator="UpsampleArgmax",
        function=upsample_argmax_of_four_rows if shared else upsample_argmax,
        pointers={"logits": None, "labels": None},
        constants={
            "CLASSES": sizes["classes"],
            "LOGITS_HEIGHT": sizes["logits_height"],
            "LOGITS_WIDTH": sizes["logits_width"],
            "HEIGHT": sizes["height"],
            "WIDTH": sizes["width"],
            "ALIGN_CORNERS": align_corners,
            **({} if shared else {"BLOCK_H": _SHARED_ROWS}),
            "BLOCK_W": _BLOCK_W,
        },
        grid=(blocks(sizes["width"], _BLOCK_W), blocks(sizes["height"], _SHARED_ROWS), sizes["batch"]),
        # Rounded once instead of twice, a score would no longer be that of the reference.
        options=LaunchOptions(warps=4, stages=1, fuse_multiply_add=False),
        variant=variant,
        shape=sizes,
    )
