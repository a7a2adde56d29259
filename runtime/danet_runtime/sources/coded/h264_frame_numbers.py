"""Whether a picture of H.264 is missing altogether between two packets: its pictures are numbered.

``frame_num`` of a picture is one more than that of the last reference before it in decoding order, modulo a
power of two (ITU-T H.264, 7.4.3). A decoder that meets a gap invents the missing picture and says nothing;
what is built on it looks right and is not. (Tried: one packet of 40 left out gave 1 to 7 wrong frames in each
of 9 ways to store them.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from danet_runtime.sources.coded.pictures import units_of

_SLICE, _IDR, _SPS, _PPS = 1, 5, 7, 8
_MOST_HEADER: Final = 512
"""Bytes of a unit that are read: parameters and slice headers are far shorter."""

_AVCC: Final = 1  # the first byte of parameters as MP4 has them; others begin with a start code
_LENGTH_BYTES: Final = 4
_WITH_CHROMA: Final = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_FULL_CHROMA: Final = 3  # 4:4:4
_SMALL_LISTS: Final = 6
_P, _B, _SP = 0, 1, 3  # slice types modulo 5
_BY_PARAMETERS: Final = 1  # weights of B slices stand in the header
_END_OF_LIST: Final = 3
_RESET: Final = 5  # the memory management control operation that numbers from 0 again
_OPERANDS: Final = {1: 1, 2: 1, 3: 2, 4: 1, 5: 0, 6: 1}


class FrameNumbers:
    """Follows the numbers of one stream, packet by packet in decoding order.

    What cannot be judged is not called a gap: parameters that are missing or broken, a stream that says that
    it has gaps (as one from which temporal layers were taken), and as many missing references in a row as
    there are numbers, 16 at the least.

    Args:
        parameters: PyAV's ``extradata``, or nothing.
    """

    def __init__(self, parameters: bytes | None) -> None:
        parameters = parameters or b""
        self._is_byte_stream = parameters[:1] != bytes([_AVCC])
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, _Picture] = {}
        self._last: _Slice | None = None
        self._reference: int | None = None  # the number of the last one
        self._is_known = True
        if self._is_byte_stream:
            self._learn(units_of(parameters, is_byte_stream=True))
        else:
            self._is_known = len(parameters) > 4 and parameters[4] % 4 + 1 == _LENGTH_BYTES
            self._learn(_units_of_avcc(parameters))

    def misses_before(self, data: bytes) -> bool:
        """Whether something that this packet builds on is missing between it and the one before."""
        misses = False
        if self._is_known:
            for unit in units_of(data, self._is_byte_stream):
                if len(unit) < 3:
                    continue
                kind = unit[0] & 0x1F
                if kind in (_SPS, _PPS):
                    self._learn([unit])
                # The first macroblock is number 0, whose code is a 1: other slices are of the same picture.
                elif kind in (_SLICE, _IDR) and unit[1] & 0x80:
                    misses |= self._follow(unit)
        return misses

    def _follow(self, unit: bytes) -> bool:
        try:
            now = _read_slice(unit, self._sequences, self._pictures)
        except (KeyError, ValueError):
            self._last = self._reference = None
            return False
        if now.is_redundant:
            return False
        last, self._last = self._last, now
        before, limit = self._reference, 1 << now.sequence.number_bits
        is_gap = (
            not now.is_idr
            and before is not None
            and now.number not in (before, (before + 1) % limit)  # the second field has the first one's
            and not now.sequence.may_have_gaps
            and (last is None or last.sequence == now.sequence)
        )
        if now.is_reference:
            self._reference = 0 if now.resets else now.number
        elif is_gap:
            self._reference = (now.number - 1) % limit
        return is_gap

    def _learn(self, units: Iterator[bytes] | list[bytes]) -> None:
        for unit in units:
            try:
                if unit and unit[0] & 0x1F == _SPS:
                    number, sequence = _read_sequence(_Bits(unit))
                    self._sequences[number] = sequence
                elif unit and unit[0] & 0x1F == _PPS:
                    number, picture = _read_picture(_Bits(unit))
                    self._pictures[number] = picture
            except ValueError:
                continue


@dataclass(frozen=True)
class _Sequence:
    """The fields of a sequence parameter set that are needed to read on (7.3.2.1)."""

    number_bits: int
    may_have_gaps: bool
    is_frames_only: bool
    chroma: int
    has_planes: bool
    order_bits: int
    order_deltas: bool


@dataclass(frozen=True)
class _Picture:
    """The fields of a picture parameter set that are needed to read on (7.3.2.2)."""

    sequence: int
    has_bottom_order: bool
    references: tuple[int, int]
    is_weighted: bool
    b_weights: int
    may_be_redundant: bool


@dataclass(frozen=True)
class _Slice:
    """The beginning of a picture (7.3.3)."""

    sequence: _Sequence
    number: int
    is_idr: bool
    is_reference: bool
    is_redundant: bool
    resets: bool


class _Bits:
    """Reads a unit bit by bit, without its emulation prevention; ``ValueError`` behind its end."""

    def __init__(self, unit: bytes) -> None:
        data = unit[1:_MOST_HEADER].replace(b"\x00\x00\x03", b"\x00\x00")
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, bits: int) -> int:
        if bits > self._left:
            raise ValueError("the unit ends too early")
        self._left -= bits
        return self._value >> self._left & ((1 << bits) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def skip_ue(self, codes: int) -> None:
        """Skip a number of Exp-Golomb codes; signed ones are as long."""
        for _ in range(codes):
            self.ue()


def _read_sequence(bits: _Bits) -> tuple[int, _Sequence]:
    profile = bits.u(8)
    bits.u(16)
    number, chroma, has_planes = bits.ue(), 1, False
    if profile in _WITH_CHROMA:
        chroma = bits.ue()
        has_planes = chroma == _FULL_CHROMA and bool(bits.u(1))
        bits.skip_ue(2)
        bits.u(1)
        if bits.u(1):
            for place in range(12 if chroma == _FULL_CHROMA else 8):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if place < _SMALL_LISTS else 64)
    number_bits, order_type, order_bits, order_deltas = bits.ue() + 4, bits.ue(), 0, False
    if order_type == 0:
        order_bits = bits.ue() + 4
    elif order_type == 1:
        order_deltas = not bits.u(1)
        bits.skip_ue(2)
        bits.skip_ue(bits.ue())
    bits.ue()
    may_have_gaps = bool(bits.u(1))
    bits.skip_ue(2)
    is_frames_only = bool(bits.u(1))
    return number, _Sequence(
        number_bits, may_have_gaps, is_frames_only, chroma, has_planes, order_bits, order_deltas
    )


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    following = 8
    for _ in range(size):
        following = (following + bits.se()) % 256
        if not following:
            return


def _read_picture(bits: _Bits) -> tuple[int, _Picture]:
    number, sequence = bits.ue(), bits.ue()
    bits.u(1)
    has_bottom_order = bool(bits.u(1))
    if bits.ue():
        raise ValueError("groups of slices, which FFmpeg does not decode either")
    references = (bits.ue() + 1, bits.ue() + 1)
    is_weighted, b_weights = bool(bits.u(1)), bits.u(2)
    bits.skip_ue(3)
    bits.u(2)
    return number, _Picture(
        sequence, has_bottom_order, references, is_weighted, b_weights, may_be_redundant=bool(bits.u(1))
    )


def _read_slice(unit: bytes, sequences: dict[int, _Sequence], pictures: dict[int, _Picture]) -> _Slice:
    """``KeyError``: its parameters are not known; ``ValueError``: it is broken."""
    bits, is_idr, is_reference = _Bits(unit), unit[0] & 0x1F == _IDR, bool(unit[0] & 0x60)
    bits.ue()
    kind, picture = bits.ue() % 5, pictures[bits.ue()]
    sequence = sequences[picture.sequence]
    if sequence.has_planes:
        bits.u(2)
    number = bits.u(sequence.number_bits)
    is_field = not sequence.is_frames_only and bool(bits.u(1))
    if is_field:
        bits.u(1)
    if is_idr:
        bits.ue()
    has_bottom_order = picture.has_bottom_order and not is_field
    if sequence.order_bits:
        bits.u(sequence.order_bits)
        bits.skip_ue(int(has_bottom_order))
    elif sequence.order_deltas:
        bits.skip_ue(1 + int(has_bottom_order))
    is_redundant = picture.may_be_redundant and bits.ue() > 0
    resets = is_reference and not is_idr and _resets(bits, kind, sequence, picture)
    return _Slice(sequence, number, is_idr, is_reference, is_redundant, resets)


def _resets(bits: _Bits, kind: int, sequence: _Sequence, picture: _Picture) -> bool:
    """Whether the numbers begin anew behind this picture: said at the end of its header."""
    if kind == _B:
        bits.u(1)
    references = list(picture.references)
    lists = {_P: 1, _SP: 1, _B: 2}.get(kind, 0)
    if lists and bits.u(1):
        references[:lists] = [bits.ue() + 1 for _ in range(lists)]
    for _ in range(lists):
        if bits.u(1):
            while bits.ue() != _END_OF_LIST:
                bits.ue()
    if (picture.is_weighted and kind in (_P, _SP)) or (picture.b_weights == _BY_PARAMETERS and kind == _B):
        has_chroma = bool(sequence.chroma) and not sequence.has_planes
        bits.skip_ue(1 + int(has_chroma))
        for _ in range(sum(references[:lists])):
            bits.skip_ue(2 * bits.u(1))
            bits.skip_ue(4 * bits.u(1) if has_chroma else 0)
    if bits.u(1):
        while operation := bits.ue():
            if operation == _RESET:
                return True
            bits.skip_ue(_OPERANDS.get(operation, 0))
    return False


def _units_of_avcc(parameters: bytes) -> Iterator[bytes]:
    """The parameter sets of an AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1)."""
    place = 5
    for mask in (0x1F, 0xFF):
        count, place = (parameters[place : place + 1] or b"\0")[0] & mask, place + 1
        for _ in range(count):
            length = int.from_bytes(parameters[place : place + 2], "big")
            yield parameters[place + 2 : place + 2 + length]
            place += 2 + length
