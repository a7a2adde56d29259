"""The machine's arithmetic, one instruction at a time, against NumPy, fractions and Python's integers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ptx_machine.arithmetic import bit_field, exp2, fma, from_bfloat, permute_bytes, to_bfloat, to_half
from ptx_machine.faults import UnsupportedPtxError
from ptx_machine.instructions.scalar import pure
from ptx_machine.syntax import parse

WORDS = st.integers(0, 2**32 - 1)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def result_of(instruction, *values, registers):
    """Run one instruction whose operands are %0, %1, ... of the given declarations."""
    declared = "\n".join(f".reg .{kind} %r{index};" for index, kind in enumerate(registers))
    text = f".target sm_90a\n.entry k()\n{{\n{declared}\n{instruction};\nret;\n}}"
    plain = pure(parse(text).instructions[0])
    sources = [np.full(32, value, kind) for value, kind in values]
    result = plain.compute(*sources)
    if isinstance(result, list):
        return [part[0] for part in result]
    assert (result == result[0]).all() or result.dtype.kind == "f"
    return result[0]


@given(WORDS, WORDS)
def test_whole_numbers_wrap_as_32_bits_do(a, b):
    words = ((a, np.uint32), (b, np.uint32))
    three = ("b32", "b32", "b32")
    assert result_of("add.s32 %r0, %r1, %r2", *words, registers=three) == (a + b) % 2**32
    assert result_of("sub.s32 %r0, %r1, %r2", *words, registers=three) == (a - b) % 2**32
    assert result_of("mul.lo.s32 %r0, %r1, %r2", *words, registers=three) == a * b % 2**32
    assert result_of("mul.hi.u32 %r0, %r1, %r2", *words, registers=three) == a * b >> 32
    assert result_of("mul.wide.u32 %r0, %r1, %r2", *words, registers=("b64", "b32", "b32")) == a * b


def signed(word):
    return word - 2**32 if word >= 2**31 else word


@given(WORDS, WORDS)
def test_signed_numbers_keep_their_sign(a, b):
    words = ((a, np.uint32), (b, np.uint32))
    wide = result_of("mul.wide.s32 %r0, %r1, %r2", *words, registers=("b64", "b32", "b32"))
    assert wide == signed(a) * signed(b) % 2**64
    least = result_of("min.s32 %r0, %r1, %r2", *words, registers=("b32",) * 3)
    assert signed(int(least)) == min(signed(a), signed(b))
    less = result_of("setp.lt.s32 %r0, %r1, %r2", *words, registers=("pred", "b32", "b32"))
    assert bool(less) == (signed(a) < signed(b))
    assert result_of("cvt.s64.s32 %r0, %r1", words[0], registers=("b64", "b32")) == signed(a) % 2**64


@given(WORDS, st.integers(0, 70))
def test_shifts_beyond_the_width_leave_nothing_but_the_sign(word, by):
    values = ((word, np.uint32), (by, np.uint32))
    three = ("b32",) * 3
    assert result_of("shl.b32 %r0, %r1, %r2", *values, registers=three) == (word << by) % 2**32
    assert result_of("shr.u32 %r0, %r1, %r2", *values, registers=three) == word >> by
    assert signed(int(result_of("shr.s32 %r0, %r1, %r2", *values, registers=three))) == signed(word) >> by


@given(WORDS, WORDS, st.lists(st.integers(0, 15), min_size=4, max_size=4))
def test_prmt_takes_bytes_and_signs_as_the_isa_says(a, b, choices):
    selector = sum(choice << 4 * place for place, choice in enumerate(choices))
    found = int(permute_bytes(np.full(32, a, np.uint32), np.full(32, b, np.uint32), selector)[0])
    source = a.to_bytes(4, "little") + b.to_bytes(4, "little")
    for place, choice in enumerate(choices):
        byte = source[choice & 7]
        expected = (255 if byte >= 128 else 0) if choice & 8 else byte
        assert found >> 8 * place & 255 == expected


@given(WORDS, st.integers(0, 31), st.integers(1, 32))
def test_a_bit_field_is_cut_out_and_extended_by_its_own_sign(word, start, length):
    length = min(length, 32 - start)
    plain = word >> start & (1 << length) - 1
    bits = np.full(32, word, np.uint32)
    assert bit_field(bits, start, length, signed=False)[0] == plain
    extended = plain - (1 << length) if plain >> length - 1 else plain
    assert bit_field(bits, start, length, signed=True)[0] == extended % 2**32


@given(FLOATS, FLOATS, FLOATS)
def test_fma_rounds_once(a, b, c):
    bits = [np.full(1, value, np.float32).view(np.uint32) for value in (a, b, c)]
    with np.errstate(all="ignore"):
        found = float(fma(*bits).view(np.float32)[0])
    exact = Fraction(float(np.float32(a))) * Fraction(float(np.float32(b))) + Fraction(float(np.float32(c)))
    if abs(exact) >= 2**127 or (exact and abs(exact) < Fraction(1, 2**125)):
        return
    below, above = (float(np.nextafter(np.float32(found), np.float32(way))) for way in (-np.inf, np.inf))
    distance = abs(Fraction(found) - exact)
    assert distance <= abs(Fraction(below) - exact)
    assert distance <= abs(Fraction(above) - exact)


@given(FLOATS)
def test_bfloat16_is_the_nearest_with_ties_to_even(value):
    single = np.float32(value)
    found = from_bfloat(to_bfloat(np.full(1, single)))[0]
    bits = int(single.view(np.uint32)) & 0xFFFF0000
    candidates = [np.uint32(bits + step).view(np.float32) for step in (0, 0x10000) if bits + step < 2**32]
    errors = [abs(float(each) - float(single)) for each in candidates if np.isfinite(each)]
    if np.isfinite(found):
        assert abs(float(found) - float(single)) == min(errors)


def test_conversions_to_fp16_round_to_even_and_overflow_to_infinity():
    values = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519.0, 65520.0, 2**-25], np.float32)
    with np.errstate(over="ignore"):
        found = to_half(values).view(np.float16)
    assert found.tolist() == [1.0, 1 + 2**-9, 65504.0, float("inf"), 0.0]


def test_exp2_flushes_subnormal_numbers_and_keeps_infinity():
    values = np.array([-np.inf, -150.0, -126.0, 0.0, 1e-40, 10.0], np.float32)
    found = exp2(values.view(np.uint32)).view(np.float32)
    assert found.tolist() == [0.0, 0.0, 2.0**-126, 1.0, 1.0, 1024.0]


def test_packing_and_unpacking_keep_the_order_of_halves():
    packed = result_of(
        "mov.b32 %r0, {%r1, %r2}", (0x1111, np.uint16), (0x2222, np.uint16), registers=("b32", "b16", "b16")
    )
    assert packed == 0x22221111
    halves = result_of("mov.b32 {%r0, %r1}, %r2", (0x22221111, np.uint32), registers=("b16", "b16", "b32"))
    assert halves == [0x1111, 0x2222]
    one = np.full(1, 1.0, np.float32).view(np.uint32)[0], np.uint32
    two = np.full(1, 2.0, np.float32).view(np.uint32)[0], np.uint32
    high_first = result_of("cvt.rn.f16x2.f32 %r0, %r1, %r2", one, two, registers=("b32",) * 3)
    assert high_first == 0x3C004000


@pytest.mark.parametrize(
    "instruction",
    [
        "mul.f16 %r0, %r1, %r2",
        "add.sat.s32 %r0, %r1, %r2",
        "shl.b128 %r0, %r1, %r2",
        "ex2.approx.f32 %r0, %r1",
    ],
)
def test_an_unknown_form_is_refused_and_never_guessed(instruction):
    count = instruction.count("%")
    with pytest.raises(UnsupportedPtxError):
        result_of(instruction, registers=("b32",) * count)


@given(WORDS)
def test_popc_counts_the_ones(word):
    assert result_of("popc.b32 %r0, %r1", (word, np.uint32), registers=("b32", "b32")) == word.bit_count()
