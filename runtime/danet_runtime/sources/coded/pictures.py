"""Reads the kind of a coded H.264 or H.265 picture from its first bytes: whether decoding may begin there.

(ITU-T H.264, 7.3 and D.1.8; H.265, 7.3 and D.2.8; RFC 6184 and 7798 for the packets.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Codec = Literal["h264", "h265"]

_ZEROS: Final = b"\0\0\0"
_RECOVERY_POINT: Final = 6  # the type of the message, in both
_SEI: Final = {"h264": (6,), "h265": (39,)}
_H264_SLICES: Final = range(1, 6)
_H264_IDR: Final = 5
_H264_BEFORE_SLICES: Final = (6, 7, 8, 9, 14, 15)
_H265_SLICES: Final = range(32)
_H265_IDR: Final = (19, 20)
_H265_RANDOM_ACCESS: Final = range(16, 24)
_H265_BEFORE_SLICES: Final = (32, 33, 34, 35, 39)
_NO_PICTURE: Final = {"h264": (6, *range(24, 32)), "h265": (39, 40, *range(48, 64))}
_H265_SKIPPED_LEADING: Final = (8, 9)


@dataclass(frozen=True)
class PictureStart:
    """The kind of a coded picture: whether decoding may begin there, and from where on all is right.

    Attributes:
        is_picture: Whether there is a slice at all, and not only parameters.
        is_key: Whether decoding may begin here.
        is_closed: Whether no picture from here on builds on an earlier one; else those shown later do not.
        recovered_after: Pictures until all is right, in a stream that renews itself bit by bit.
    """

    is_picture: bool
    is_key: bool
    is_closed: bool = True
    recovered_after: int = 0


def units_of(data: bytes, is_byte_stream: bool) -> Iterator[bytes]:
    """The units of a picture, each from its header on and possibly cut off at the end.

    Args:
        data: The beginning of the picture.
        is_byte_stream: Whether start codes are between them, else each has its length in four bytes.
    """
    if is_byte_stream:
        begin = data.find(b"\x00\x00\x01")
        while begin >= 0:
            end = data.find(b"\x00\x00\x01", begin + 3)
            yield data[begin + 3 : end if end >= 0 else None]
            begin = end
        return
    place = 0
    while place + 5 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 4 + length]
        place += 4 + length


def read_start(data: bytes, codec: Codec, is_byte_stream: bool) -> PictureStart:
    """Read the kind of a picture from its units up to the first slice."""
    recovered_after: int | None = None
    for unit in units_of(data, is_byte_stream):
        if len(unit) < 3:
            continue
        kind = _kind(unit, codec)
        if kind in _SEI[codec]:
            recovery = _recovery(unit[1 if codec == "h264" else 2 :], codec)
            recovered_after = recovery if recovery is not None else recovered_after
        elif codec == "h264" and kind in _H264_SLICES:
            if kind == _H264_IDR:
                return PictureStart(True, True)
            return _not_idr(recovered_after)
        elif codec == "h265" and kind in _H265_SLICES:
            if kind in _H265_RANDOM_ACCESS:
                return PictureStart(True, True, is_closed=kind in _H265_IDR)
            return _not_idr(recovered_after)
    return PictureStart(False, False)


def begins_picture(payload: bytes, codec: Codec) -> bool:
    """Whether an RTP packet is the first of its picture: with parameters, or the slice at the top left."""
    if len(payload) < 5:
        return False
    if codec == "h264":
        kind = payload[0] & 0x1F
        if kind == 24:  # several units, the first of which counts
            return begins_picture(payload[3:], codec)
        if kind == 28:
            is_first, kind, rest = bool(payload[1] & 0x80), payload[1] & 0x1F, payload[2:]
        else:
            is_first, rest = True, payload[1:]
        # The number of the first macroblock is 0 where its code, Exp-Golomb, begins with 1.
        return is_first and (kind in _H264_BEFORE_SLICES or (kind in _H264_SLICES and rest[0] >= 0x80))
    kind = payload[0] >> 1 & 0x3F
    if kind == 48:
        return begins_picture(payload[4:], codec)
    if kind == 49:
        is_first, kind, rest = bool(payload[2] & 0x80), payload[2] & 0x3F, payload[3:]
    else:
        is_first, rest = True, payload[2:]
    return is_first and (kind in _H265_BEFORE_SLICES or (kind in _H265_SLICES and rest[0] >= 0x80))


def _kind(unit: bytes, codec: Codec) -> int:
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def _not_idr(recovered_after: int | None) -> PictureStart:
    if recovered_after is None:
        return PictureStart(True, False)
    return PictureStart(True, True, is_closed=False, recovered_after=max(0, recovered_after))


def _recovery(messages: bytes, codec: Codec) -> int | None:
    """The count of a recovery point among the messages of a unit; ``None`` where there is none."""
    data = messages.replace(b"\x00\x00\x03", b"\x00\x00")
    place = 0
    while place + 2 < len(data):
        numbers = []
        for _ in range(2):  # type and size, each as a sum of bytes that ends with one below 255
            number = 0
            while place < len(data) and data[place] == 255:
                number, place = number + 255, place + 1
            if place >= len(data):
                return None
            numbers.append(number + data[place])
            place += 1
        if numbers[0] == _RECOVERY_POINT:
            code = _exp_golomb(data[place:])
            if code is None or codec == "h264":
                return code
            return (code + 1) // 2 if code % 2 else -(code // 2)
        place += numbers[1]
    return None


def _exp_golomb(data: bytes) -> int | None:
    bits = "".join(f"{byte:08b}" for byte in data[:9])
    zeros = bits.find("1")
    if zeros < 0 or 2 * zeros + 1 > len(bits):
        return None
    return int(bits[zeros : 2 * zeros + 1], 2) - 1


def has_hole(data: bytes, parameters: bytes, codec: Codec) -> bool:
    """Whether a packet has zeros where none may be, as a lost block of a disk leaves them.

    Three zeros in a row stand in no unit, only between units (ITU-T H.264 and H.265, 7.4.1). FFmpeg decodes
    them, mostly without an error: a key frame with such a hole was wrong, with all that was built on it.
    Messages (SEI) and units of makers' own do not count: dashboard cameras write positions there with zeros
    as they are, and no picture is made of them.

    Args:
        data: The packet.
        parameters: Parameters of the stream, which tell how its units are separated.
        codec: Codec of the stream.
    """
    if _ZEROS not in data:
        return False
    is_byte_stream = parameters[:1] != b"\1"
    return any(
        _ZEROS in unit.rstrip(b"\0") and _kind(unit, codec) not in _NO_PICTURE[codec]
        for unit in units_of(data, is_byte_stream)
    )


def is_skipped_leading(data: bytes, parameters: bytes) -> bool:
    """Whether a picture of H.265 may give no frame: it builds on what comes before the key frame behind it.

    At the beginning of a file that is missing, and decoders skip such pictures (RASL; H.265, 8.1.3).

    Args:
        data: The packet.
        parameters: Parameters of the stream, which tell how its units are separated.
    """
    kinds = (unit[0] >> 1 & 0x3F for unit in units_of(data, parameters[:1] != b"\1") if unit)
    return any(kind in _H265_SKIPPED_LEADING for kind in kinds)
