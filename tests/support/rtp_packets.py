"""RTP packets of H.264 and H.265 (RFC 6184, RFC 7798), and sender reports of RTCP (RFC 3550)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

CLOCK_RATE = 90_000
PAYLOAD_TYPE = 96
_NTP_OF_UNIX = 2_208_988_800  # seconds from 1900 to 1970


def nal_units(access_unit: bytes) -> list[bytes]:
    """The units between the start codes."""
    parts = access_unit.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [part for part in parts if part]


def payloads(nal: bytes, codec: str, most: int) -> Iterator[bytes]:
    """A unit in packets of at most ``most`` bytes: alone, or in fragments."""
    if len(nal) <= most:
        yield nal
        return
    if codec == "h264":
        prefix, kind, head = bytes([nal[0] & 0xE0 | 28]), nal[0] & 0x1F, 1
    else:
        prefix, kind, head = bytes([nal[0] & 0x81 | 49 << 1, nal[1]]), nal[0] >> 1 & 0x3F, 2
    body = nal[head:]
    step = most - head - 1
    for begin in range(0, len(body), step):
        flags = 0x80 * (begin == 0) | 0x40 * (begin + step >= len(body))
        yield prefix + bytes([flags | kind]) + body[begin : begin + step]


def packet(payload: bytes, number: int, time: int, source: int, *, is_last: bool) -> bytes:
    """An RTP packet; the last of a picture is marked."""
    head = struct.pack(
        ">BBHII", 0x80, PAYLOAD_TYPE | 0x80 * is_last, number & 0xFFFF, time & 0xFFFFFFFF, source
    )
    return head + payload


def sender_report(unix_ns: int, time: int, source: int, packets: int) -> bytes:
    """What says which wall-clock time belongs to an RTP time; with the name that it must come with."""
    seconds, rest = divmod(unix_ns, 10**9)
    fraction = (rest << 32) // 10**9
    report = struct.pack(
        ">BBHIIIIII",
        0x80,
        200,
        6,
        source,
        (seconds + _NTP_OF_UNIX) & 0xFFFFFFFF,
        fraction,
        time & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        0,
    )
    name = b"\x01\x06camera\x00\x00\x00\x00"
    return report + struct.pack(">BBHI", 0x81, 202, 1 + len(name) // 4, source) + name


def asks_for_key_frame(report: bytes) -> bool:
    """Whether a compound RTCP packet has a picture loss indication or a full intra request in it."""
    while len(report) >= 4:
        length = 4 * (int.from_bytes(report[2:4], "big") + 1)
        if report[1] == 206 and report[0] & 0x1F in (1, 4):
            return True
        report = report[length:]
    return False
