"""Gaps in the numbers of the pictures of H.264, in streams written bit by bit as the standard has them."""

from __future__ import annotations

import random

import pytest

from danet_runtime.sources.coded.h264_frame_numbers import FrameNumbers

LIMIT = 16  # numbers


def ue(value: int) -> str:
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def unit(header: int, bits: str) -> bytes:
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    for last in range(4):  # emulation prevention
        data = data.replace(bytes([0, 0, last]), bytes([0, 0, 3, last])) if last != 3 else data
    return b"\0\0\0\1" + bytes([header]) + data


def parameters(*, may_have_gaps: bool = False, is_weighted: bool = False) -> bytes:
    sequence = f"{77:08b}" + "0" * 8 + f"{30:08b}" + ue(0) + ue(0) + ue(0) + ue(4) + ue(1)
    sequence += f"{may_have_gaps:b}" + ue(7) + ue(7) + "1" + "1" + "0" + "0"
    picture = ue(0) + ue(0) + "1" + "0" + ue(0) + ue(1) + ue(0) + f"{is_weighted:b}"
    picture += "00" + ue(0) * 3 + "000"
    return unit(0x67, sequence) + unit(0x68, picture)


def picture(
    number: int, *, is_reference: bool = True, is_idr: bool = False, resets: bool = False, weights: str = ""
) -> bytes:
    bits = ue(0) + ue(7 if is_idr else 5) + ue(0) + f"{number % LIMIT:04b}"
    bits += (ue(0) if is_idr else "") + "01010101"
    if is_idr:
        bits += "00"
    else:
        bits += "0" + "1" + ue(0) + ue(3) + ue(3) + weights  # a list of references that is changed
        if is_reference:
            bits += "1" + ue(1) + ue(2) + (ue(5) if resets else "") + ue(0) if resets else "0"
    header = (0x60 if is_reference else 0) | (5 if is_idr else 1)
    return unit(header, bits + "10" * 40)


def gaps(stream: list[bytes], given: bytes | None = None) -> list[int]:
    numbers = FrameNumbers(parameters() if given is None else given)
    return [place for place, data in enumerate(stream) if numbers.misses_before(data)]


@pytest.mark.parametrize("seed", range(20))
def test_what_misses_a_reference_is_seen_and_nothing_else(seed: int) -> None:
    dice = random.Random(seed)
    number, stream, lost, expected, is_open = 0, [picture(0, is_idr=True)], 0, [], False
    for _ in range(200):
        is_idr, is_reference = dice.random() < 0.05, dice.random() < 0.6
        now = 0 if is_idr else number + 1
        if dice.random() < 0.1 and lost < LIMIT - 2:
            if is_reference and not is_idr:
                number, lost, is_open = now, lost + 1, True
                continue
            if not is_idr:
                continue
        if is_open and not is_idr:
            expected.append(len(stream))
        stream.append(picture(now, is_reference=is_reference or is_idr, is_idr=is_idr))
        lost, is_open = 0, False
        number = now if is_reference or is_idr else number
    assert gaps(stream) == expected


def test_the_first_picture_and_what_follows_unknown_parameters_are_no_gap() -> None:
    assert gaps([picture(7), picture(8), picture(9, is_reference=False), picture(9)]) == []
    assert gaps([picture(0, is_idr=True), picture(5)], given=b"") == []
    assert gaps([parameters() + picture(0, is_idr=True), picture(5)], given=b"") == [1]


def test_a_stream_that_says_that_it_has_gaps_is_not_judged() -> None:
    assert gaps([picture(0, is_idr=True), picture(5)], parameters(may_have_gaps=True)) == []


def test_numbers_may_begin_anew_behind_a_picture_that_says_so() -> None:
    weights = ue(2) + ue(2) + "1" + ue(3) * 2 + "0" + "0" + "1" + ue(4) * 4
    for given, more in ((parameters(), ""), (parameters(is_weighted=True), weights)):
        stream = [picture(0, is_idr=True), picture(1, weights=more), picture(2, resets=True, weights=more)]
        assert gaps([*stream, picture(1, weights=more)], given) == []
        assert gaps([*stream, picture(3, weights=more)], given) == [3]


def test_both_fields_of_a_frame_have_its_number() -> None:
    assert gaps([picture(0, is_idr=True), picture(0), picture(1), picture(1), picture(2), picture(2)]) == []


@pytest.mark.parametrize("seed", range(20))
def test_broken_packets_are_read_without_an_error(seed: int) -> None:
    dice = random.Random(seed)
    numbers = FrameNumbers(dice.choice([parameters(), dice.randbytes(40), b"\1" + dice.randbytes(30), None]))
    for _ in range(200):
        data = bytearray(parameters() + picture(dice.randrange(16)))
        for _ in range(dice.randrange(8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        numbers.misses_before(bytes(data[: dice.randrange(len(data) + 1)]))
