"""Pictures that carry their number and the time of their capture, and show when anything in them is wrong.

On top stand three rows of blocks, dark or bright: the number, the time, a check sum of both. Below lies a
pattern of grey blocks that moves with the number, so that a picture built on another than its own predecessor
is seen. All of it outlives a codec; a shift by one picture, a grey or a foreign part does not.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass

import numpy as np

from danet_runtime.clock import now_ns
from danet_runtime.frames.arrays import UInt8Array

SIZE_HW = (128, 256)
"""Size of a picture where no other is given; widths are multiples of 64, heights of 16."""

_PER_ROW = 32  # blocks
_BITS = (24, 56, 16)  # number, microseconds, check sum
_DARK, _BRIGHT = 56, 200
_STEP = 2  # pixels that the pattern moves from picture to picture
_CELL = 16  # pixels of a block of the pattern
_WORST = 14.0  # levels; codecs at their usual settings leave below 6, a shift by one picture over 20


@dataclass(frozen=True)
class Truth:
    """What a picture says of itself.

    Attributes:
        number: Number of the picture, modulo 2^24.
        time_ns: When it was drawn, on the clock of :mod:`danet_runtime.clock`, in whole microseconds.
    """

    number: int
    time_ns: int

    @property
    def age_ms(self) -> float:
        """Its true age at this moment."""
        return (now_ns() - self.time_ns) / 1e6


def draw(number: int, time_ns: int | None = None, size_hw: tuple[int, int] = SIZE_HW) -> UInt8Array:
    """A picture, (H, W, 3) BGR, all of it grey.

    Args:
        number: To carry.
        time_ns: To carry; now, where it is not given.
        size_hw: Height and width.
    """
    grey = _pattern(size_hw)[:, (np.arange(size_hw[1]) + _STEP * number) % (8 * size_hw[1])].copy()
    side = size_hw[1] // _PER_ROW
    blocks = np.where(_bits(number % 2**24, (time_ns or now_ns()) // 1000), _BRIGHT, _DARK).astype(np.uint8)
    rows = blocks.reshape(-1, _PER_ROW).repeat(side, 0).repeat(side, 1)
    grey[: rows.shape[0]] = rows
    return np.repeat(grey[..., None], 3, 2)


def read(picture: UInt8Array) -> Truth | None:
    """What a picture says of itself, or ``None`` where any part of it is not as it was drawn.

    Args:
        picture: (H, W, 3) BGR or (H, W) grey, as a decoder gave it.
    """
    grey = picture.mean(2) if picture.ndim == 3 else picture.astype(np.float64)
    height, width = grey.shape
    side = width // _PER_ROW
    rows = sum(_BITS) // _PER_ROW
    blocks = grey[: rows * side].reshape(rows, side, _PER_ROW, side)
    inner = blocks[:, side // 4 : side - side // 4, :, side // 4 : side - side // 4]
    bits = (inner.mean((1, 3)) > (_DARK + _BRIGHT) / 2).ravel()
    number, time_us, _ = _fields(bits)
    if not np.array_equal(bits, _bits(number, time_us)):
        return None
    difference = np.abs(grey - draw(number, time_us * 1000, (height, width))[..., 0])
    worst = difference.reshape(height // 8, 8, width // 8, 8).mean((1, 3)).max()
    return Truth(number, time_us * 1000) if worst < _WORST else None


def _bits(number: int, time_us: int) -> np.ndarray:
    check = zlib.crc32(number.to_bytes(3, "big") + time_us.to_bytes(7, "big")) & 0xFFFF
    whole = ((number << _BITS[1] | time_us) << _BITS[2]) | check
    return np.unpackbits(np.frombuffer(whole.to_bytes(sum(_BITS) // 8, "big"), np.uint8)).astype(bool)


def _fields(bits: np.ndarray) -> tuple[int, ...]:
    whole = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return (
        whole >> (_BITS[1] + _BITS[2]),
        whole >> _BITS[2] & (2 ** _BITS[1] - 1),
        whole & (2 ** _BITS[2] - 1),
    )


@functools.cache
def _pattern(size_hw: tuple[int, int]) -> UInt8Array:
    """Grey blocks, eight pictures wide: a picture is a window into it."""
    cells = np.random.default_rng(0).integers(40, 216, (size_hw[0] // _CELL, 8 * size_hw[1] // _CELL))
    return cells.astype(np.uint8).repeat(_CELL, 0).repeat(_CELL, 1)
