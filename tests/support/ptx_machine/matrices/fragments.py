"""Matrices spread over the registers of a warp, as the PTX ISA's figures of fragments show them.

Lane l is in group g = l / 4 and has the place t = l % 4 in it. A 16x16 operand A of 16-bit elements has
four registers: register r holds row g + 8 (r % 2), columns 2 t + 8 (r / 2) and the next. B, 16x8, has two:
column g, rows 2 t + 8 r and the next. An FP32 accumulator of 16 x 8 n has 4 n: register r holds row g + 8
(r / 2 % 2) and column 8 (r / 4) + 2 t + r % 2. A matrix of ``ldmatrix``, 8x8, has one: row g, columns 2 t
and 2 t + 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ptx_machine.arithmetic import DECODE, Array
from ptx_machine.warp import LANES, THREADS, Warp

Places = npt.NDArray[np.intp]
_GROUP: Final = LANES.astype(np.intp) // 4
_MEMBER: Final = LANES.astype(np.intp) % 4


def _inverse(rows: Places, columns: Places, shape: tuple[int, int]) -> Places:
    """Return where each element of a matrix stands in flat registers that lie at these rows and columns."""
    places = np.full(shape, -1, np.intp)
    places[rows, columns] = np.arange(rows.size).reshape(rows.shape)
    return places


def _pairs(register_count: int) -> tuple[Places, Places, Places]:
    """Indices of (register, lane, half), broadcast together."""
    register, lane, half = np.indices((register_count, THREADS, 2))
    return register, lane, half


def _left_places() -> Places:
    register, lane, half = _pairs(4)
    return _inverse(
        _GROUP[lane] + 8 * (register % 2), 2 * _MEMBER[lane] + 8 * (register // 2) + half, (16, 16)
    )


def _right_places() -> Places:
    register, lane, half = _pairs(2)
    return _inverse(2 * _MEMBER[lane] + 8 * register + half, _GROUP[lane], (16, 8))


@lru_cache
def accumulator_places(columns: int) -> Places:
    """Return the place of each of 16 x ``columns`` elements in (columns / 2, 32) registers, flat."""
    register, lane = np.indices((columns // 2, THREADS))
    rows = _GROUP[lane] + 8 * (register // 2 % 2)
    return _inverse(rows, 8 * (register // 4) + 2 * _MEMBER[lane] + register % 2, (16, columns))


_LEFT: Final = _left_places()
_RIGHT: Final = _right_places()


def left_operand(registers: Array, kind: str) -> Array:
    """Return the 16x16 matrix of (4, 32) registers of ``f16`` or ``bf16``, in FP64."""
    return decode(np.ascontiguousarray(registers).view(np.uint16).reshape(-1)[_LEFT], kind)


def right_operand(registers: Array, kind: str) -> Array:
    """Return the 16x8 matrix (K, N) of (2, 32) registers, in FP64."""
    return decode(np.ascontiguousarray(registers).view(np.uint16).reshape(-1)[_RIGHT], kind)


def accumulator(registers: Array) -> Array:
    """Return the 16 x N matrix of (N / 2, 32) registers of FP32, in FP64."""
    values = np.ascontiguousarray(registers).view(np.float32).reshape(-1)
    return values[accumulator_places(2 * len(registers))].astype(np.float64)


def accumulator_registers(matrix: Array) -> Array:
    """Return (N / 2, 32) registers of a 16 x N matrix, each element rounded to FP32."""
    flat = np.empty(matrix.size, np.float32)
    flat[accumulator_places(matrix.shape[1])] = matrix.astype(np.float32)
    return flat.view(np.uint32).reshape(-1, THREADS)


def decode(bits: Array, kind: str) -> Array:
    """Return the values of 16-bit elements in FP64."""
    return DECODE[kind](bits).astype(np.float64)


def multiply(a: Array, b: Array, c: Array, kind: str) -> Array:
    """Do ``mma.sync.m16n8k16`` with FP32 accumulators: exact products and sums, rounded once."""
    return accumulator_registers(left_operand(a, kind) @ right_operand(b, kind) + accumulator(c))


def load_matrices(warp: Warp, addresses: Array, count: int, line: int, *, transposed: bool) -> Array:
    """Do ``ldmatrix.m8n8.xCOUNT``: lane 8 j + i names row i of matrix j; return (count, 32) registers."""
    shared, actor = warp.shared, warp.actor(None, line)
    granules = shared.granules(shared.offsets(addresses[: 8 * count], 16, actor.where), 16)
    shared.note_read(granules, actor)
    matrices = shared.words[2][granules].reshape(count, 8, 8)
    if transposed:
        matrices = matrices.transpose(0, 2, 1)
    return np.ascontiguousarray(matrices).view(np.uint32).reshape(count, THREADS)


def store_matrices(warp: Warp, addresses: Array, registers: Array, line: int, *, transposed: bool) -> None:
    """Do ``stmatrix.m8n8.xN`` with (N, 32) registers."""
    count = len(registers)
    shared, actor = warp.shared, warp.actor(None, line)
    matrices = np.ascontiguousarray(registers).view(np.uint16).reshape(count, 8, 8)
    if transposed:
        matrices = matrices.transpose(0, 2, 1)
    rows = np.ascontiguousarray(matrices).reshape(8 * count, 8)
    granules = shared.granules(shared.offsets(addresses[: 8 * count], 16, actor.where), 16)
    shared.note_write(granules, actor, shared.words[2][granules] == rows)
    shared.words[2][granules] = rows
