"""Fragments, swizzles and products, against index tables written out from the PTX ISA and NumPy."""

import numpy as np
import pytest
from ptx_machine.arithmetic import to_half
from ptx_machine.matrices.fragments import (
    accumulator,
    accumulator_registers,
    left_operand,
    multiply,
    right_operand,
)
from ptx_machine.matrices.warpgroup import Layout, element_addresses


def halves(matrix):
    return to_half(matrix.astype(np.float32))


def pair(matrix, first, second):
    """Two 16-bit elements in one register, the first in the lower half."""
    bits = halves(matrix)
    return int(bits[first]) | int(bits[second]) << 16


def left_registers(matrix):
    """PTX ISA, mma.m16n8k16, fragment of A: a0 to a7 of a thread, two a register."""
    registers = np.zeros((4, 32), np.uint32)
    for lane in range(32):
        group, member = lane >> 2, lane % 4
        for register in range(4):
            elements = []
            for i in (2 * register, 2 * register + 1):
                row = group if i in (0, 1, 4, 5) else group + 8
                column = member * 2 + (i & 1) + (0 if i < 4 else 8)
                elements.append((row, column))
            registers[register, lane] = pair(matrix, *elements)
    return registers


def right_registers(matrix):
    """PTX ISA, mma.m16n8k16, fragment of B: b0 to b3."""
    registers = np.zeros((2, 32), np.uint32)
    for lane in range(32):
        group, member = lane >> 2, lane % 4
        for register in range(2):
            rows = [member * 2 + (i & 1) + (0 if i < 2 else 8) for i in (2 * register, 2 * register + 1)]
            registers[register, lane] = pair(matrix, (rows[0], group), (rows[1], group))
    return registers


def accumulator_fragment(matrix):
    """PTX ISA, wgmma.m64nNk16, fragment of D; at N = 8 it is that of mma.m16n8k16."""
    registers = np.zeros((matrix.shape[1] // 2, 32), np.float32)
    for lane in range(32):
        for i in range(len(registers)):
            row = (lane >> 2) + 8 * (i >> 1 & 1)
            column = 8 * (i >> 2) + 2 * (lane % 4) + (i & 1)
            registers[i, lane] = matrix[row, column]
    return registers.view(np.uint32)


@pytest.fixture
def random():
    return np.random.default_rng(5)


def test_operands_are_read_from_the_registers_where_the_isa_puts_them(random):
    a, b = (
        halves(random.normal(size=shape)).view(np.float16).astype(np.float64) for shape in ((16, 16), (16, 8))
    )
    assert (left_operand(left_registers(a), "f16") == a).all()
    assert (right_operand(right_registers(b), "f16") == b).all()


@pytest.mark.parametrize("columns", [8, 64, 256])
def test_accumulators_are_where_the_isa_puts_them(columns, random):
    matrix = random.normal(size=(16, columns)).astype(np.float32)
    registers = accumulator_fragment(matrix)
    assert (accumulator(registers) == matrix).all()
    assert (accumulator_registers(matrix) == registers).all()


def test_a_product_is_that_of_the_matrices(random):
    a, b = (
        halves(random.normal(size=shape)).view(np.float16).astype(np.float64) for shape in ((16, 16), (16, 8))
    )
    c = random.normal(size=(16, 8)).astype(np.float32)
    found = multiply(left_registers(a), right_registers(b), accumulator_fragment(c), "f16")
    assert (accumulator(found) == (a @ b + c).astype(np.float32)).all()


SWIZZLES = {
    # PTX ISA, "Swizzling modes": which 16-byte unit of a row of 128 bytes stands where, row by row of eight.
    128: [[unit ^ row for unit in range(8)] for row in range(8)],
    # Rows of 64 and 32 bytes share 128-byte lines, whose number in the pattern is shared as well.
    64: [[unit ^ (row // 2) for unit in range(4)] for row in range(8)],
    32: [[unit ^ (row // 4) for unit in range(2)] for row in range(8)],
}


@pytest.mark.parametrize("width", SWIZZLES)
def test_rows_along_k_are_swizzled_as_the_isa_draws_it(width):
    layout = Layout(start=1024, leading=0, stride=8 * width, row_bytes=width)
    found = element_addresses(layout, 16, contiguous_k=True)
    for mn in range(16):
        for k in range(16):
            unit, inside = divmod(2 * k, 16)
            expected = (
                1024 + mn // 8 * layout.stride + mn % 8 * width + 16 * SWIZZLES[width][mn % 8][unit] + inside
            )
            assert found[k, mn] == expected


def test_rows_along_m_are_swizzled_likewise_and_repeat_after_the_leading_offset():
    layout = Layout(start=2048, leading=4096, stride=1024, row_bytes=128)
    found = element_addresses(layout, 128, contiguous_k=False)
    for mn in range(128):
        for k in range(16):
            unit, inside = divmod(2 * (mn % 64), 16)
            row = k % 8
            expected = (
                2048 + mn // 64 * 4096 + k // 8 * 1024 + row * 128 + 16 * SWIZZLES[128][row][unit] + inside
            )
            assert found[k, mn] == expected


@pytest.mark.parametrize("contiguous_k", [True, False])
@pytest.mark.parametrize("width", [16, 32, 64, 128])
def test_no_two_elements_share_an_address(width, contiguous_k):
    per_row = 64 if width == 16 else width // 2
    layout = Layout(0, leading=4096 if not contiguous_k else 2048, stride=1024, row_bytes=width)
    extent = 16 if contiguous_k else min(64, per_row)
    if width == 16:
        layout = Layout(0, leading=128, stride=1024, row_bytes=16)
    found = element_addresses(layout, extent, contiguous_k=contiguous_k)
    assert len(set(found.ravel().tolist())) == found.size
