"""Numbers as bits: arrays of unsigned integers, one element a lane, as registers hold them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.unsignedinteger[Any]]
Array = npt.NDArray[Any]

UNSIGNED: Final = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SIGNED: Final = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
_TINY: Final = np.float32(np.finfo(np.float32).tiny)


def from_half(bits: Bits) -> Array:
    """Return FP16 bits as FP32 values."""
    return np.ascontiguousarray(bits).view(np.float16).astype(np.float32)


def from_bfloat(bits: Bits) -> Array:
    """Return BF16 bits as FP32 values."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_half(values: Array) -> Bits:
    """Round FP32 values to FP16, ties to even."""
    return values.astype(np.float16).view(np.uint16)


def to_bfloat(values: Array) -> Bits:
    """Round FP32 values to BF16, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    odd = bits >> np.uint32(16) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FFF), rounded).astype(np.uint16)


DECODE: Final = {"f16": from_half, "bf16": from_bfloat}
ENCODE: Final = {"f16": to_half, "bf16": to_bfloat}


def fma(a: Bits, b: Bits, c: Bits) -> Bits:
    """Return a b + c of FP32 bits, rounded once.

    The product is exact in FP64. Its sum with c is rounded to odd there, which leaves the second rounding, to
    FP32, as it would be of the exact sum (Boldo and Melquiond, 2008).
    """
    product = a.view(np.float32).astype(np.float64) * b.view(np.float32)
    addend = c.view(np.float32).astype(np.float64)
    total = product + addend
    virtual = total - product
    error = (product - (total - virtual)) + (addend - virtual)
    bits = total.view(np.int64)
    to_odd = (error != 0) & (bits & 1 == 0) & np.isfinite(total)
    away = (error > 0) == (total > 0)
    exact: Array = np.where(to_odd, bits + np.where(away, 1, -1), bits).view(np.float64)
    return exact.astype(np.float32).view(np.uint32)


def exp2(bits: Bits) -> Bits:
    """Return 2^x as ``ex2.approx.ftz`` does, subnormal numbers flushed, but rounded correctly."""
    values = bits.view(np.float32)
    values = np.where(np.abs(values) < _TINY, np.float32(0), values)
    power = np.exp2(values.astype(np.float64)).astype(np.float32)
    flushed: Array = np.where(power < _TINY, np.float32(0), power)
    return flushed.view(np.uint32)


def permute_bytes(a: Bits, b: Bits, selector: int) -> Bits:
    """Return ``prmt``: four bytes chosen from the eight of a and b, or (top bit) their signs."""
    result: Bits = np.zeros_like(a)
    for place in range(4):
        choice = selector >> (4 * place)
        source = b if choice & 4 else a
        byte: Array = source >> np.uint32(8 * (choice & 3)) & np.uint32(0xFF)
        if choice & 8:
            byte = (byte >> np.uint32(7)) * np.uint32(0xFF)
        moved: Array = byte << np.uint32(8 * place)
        result = result | moved
    return result


def bit_field(value: Bits, start: int, length: int, *, signed: bool) -> Bits:
    """Return ``bfe``: ``length`` bits from ``start`` on, with the field's own sign if signed."""
    width = value.dtype.itemsize * 8
    up, down = width - start - length, width - length
    kind = (SIGNED if signed else UNSIGNED)[width]
    if length <= 0 or up < 0:
        raise ValueError(f"bit field of {length} bits from {start} of {width}")
    raised: Array = value << UNSIGNED[width](up)  # type: ignore[operator]
    field: Array = raised.view(kind) >> kind(down)
    return field.view(UNSIGNED[width])
