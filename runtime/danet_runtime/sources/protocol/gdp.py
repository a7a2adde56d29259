"""The GStreamer Data Protocol: how a child process sends raw frames with their format and timestamps.

Each packet is a header of 62 bytes and a payload, all big-endian: version (2), flags (1), padding (1),
type (2), length (4), timestamp (8), duration (8), offset (8), end of offset (8), flags of the buffer (2),
padding (14), checksums (4). The type is 1 for a buffer, 2 for its format ("caps") and 64 or more for events.
(GStreamer, ``gst-plugins-bad/gst/gdp/dataprotocol.h``.) Of its own this has: in the offset when a frame
arrived, in the end of the offset when it was captured by its sender's clock, in the flags why it is not to be
trusted, and an event that counts frames that were left out.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import Final

from danet_runtime.errors import SourceError
from danet_runtime.frames.pixel_formats import Color, LevelRange, PixelFormat, Pixels
from danet_runtime.sources.protocol.damage import DAMAGE_REASONS, DamageReason
from danet_runtime.sources.protocol.source import plausible_fps

HEADER_BYTES: Final = 62
BUFFER: Final = 1
CAPS: Final = 2
DAMAGE: Final = 0x4001
NO_TIME: Final = 2**64 - 1

_HEADER = struct.Struct(">HBxHIQQQQH14xHH")
_DAMAGE = struct.Struct(">BI")
_VERSION = 0x0100
_LONGEST_TEXT = 1 << 16

_FORMATS: Final[dict[str, PixelFormat]] = {"BGR": "bgr", "NV12": "nv12", "UYVY": "uyvy"}
# A colorimetry is a name, or range:matrix:transfer:primaries in numbers (gst-plugins-base, video-color.h).
_RANGES: Final[dict[str, LevelRange]] = {"1": "full", "2": "limited"}
_MATRICES: Final[dict[str, Color]] = {"3": "bt709", "4": "bt601"}
_NAMED: Final[dict[str, tuple[Color, LevelRange]]] = {
    "bt601": ("bt601", "limited"),
    "bt709": ("bt709", "limited"),
}


@dataclass(frozen=True)
class Packet:
    """A packet's header.

    Attributes:
        kind: ``BUFFER``, ``CAPS``, ``DAMAGE``, or an event that says nothing here.
        length: Number of bytes of payload that follow.
        time_ns: Timestamp of a buffer on the stream's clock, or ``None``.
        arrival_ns: When its data arrived, on the clock of :mod:`danet_runtime.clock`, or ``None``.
        sender_unix_ns: When it was captured by its sender's wall clock, or ``None``.
        damage: Why it is not to be trusted, or ``None``.
    """

    kind: int
    length: int
    time_ns: int | None
    arrival_ns: int | None = None
    sender_unix_ns: int | None = None
    damage: DamageReason | None = None


@dataclass(frozen=True)
class RawFormat:
    """The format of the frames in the buffers.

    Attributes:
        size_hw: Height and width.
        pixel_format: Layout, rows padded to a multiple of four bytes.
        fps: Frames a second, or ``None`` where the stream does not say.
        color: Color matrix, or ``None`` where the stream states none that is known here.
        range: Range of the levels, or ``None`` where the stream does not state it.
    """

    size_hw: tuple[int, int]
    pixel_format: PixelFormat
    fps: float | None
    color: Color | None = None
    range: LevelRange | None = None

    def pixels(self, wanted: Pixels) -> Pixels:
        """Return the format of the frames: as the stream states it, and as wanted where it states nothing."""
        if self.pixel_format == "bgr":
            return Pixels()
        return Pixels(self.pixel_format, self.color or wanted.color, self.range or wanted.range)


def read_header(data: bytes | bytearray) -> Packet:
    """Read a header.

    Raises:
        SourceError: It is none.
    """
    version, _, kind, length, time_ns, _, arrival_ns, sender_ns, flags, _, _ = _HEADER.unpack(data)
    is_known = kind in (BUFFER, CAPS) or (kind >= 64 and length <= _LONGEST_TEXT)
    if version != _VERSION or not is_known or flags > len(DAMAGE_REASONS):
        raise SourceError(
            f"expected a packet of the GStreamer Data Protocol 1.0, got {bytes(data[:8]).hex()}"
        )
    return Packet(
        kind,
        length,
        None if time_ns == NO_TIME else time_ns,
        None if arrival_ns == NO_TIME else arrival_ns,
        None if sender_ns == NO_TIME else sender_ns,
        DAMAGE_REASONS[flags - 1] if flags else None,
    )


def write_header(
    kind: int,
    length: int,
    time_ns: int | None = None,
    *,
    arrival_ns: int | None = None,
    sender_unix_ns: int | None = None,
    damage: DamageReason | None = None,
) -> bytes:
    """The header of a packet, without checksums; see :class:`Packet`."""
    moment, arrived, sent = (
        NO_TIME if time is None else time for time in (time_ns, arrival_ns, sender_unix_ns)
    )
    flags = 0 if damage is None else DAMAGE_REASONS.index(damage) + 1
    return _HEADER.pack(_VERSION, 0, kind, length, moment, NO_TIME, arrived, sent, flags, 0, 0)


def write_damage(reason: DamageReason, frames: int = 1) -> bytes:
    """A packet that says how many damaged frames were left out."""
    payload = _DAMAGE.pack(DAMAGE_REASONS.index(reason), frames)
    return write_header(DAMAGE, len(payload)) + payload


def read_damage(payload: bytes) -> tuple[DamageReason, int]:
    """Read the payload of such a packet.

    Raises:
        SourceError: It is none.
    """
    if len(payload) == _DAMAGE.size:
        reason, frames = _DAMAGE.unpack(payload)
        if reason < len(DAMAGE_REASONS):
            return DAMAGE_REASONS[reason], frames
    raise SourceError(f"expected a count of damaged frames, got {payload[:8].hex()}")


def read_caps(text: bytes) -> RawFormat:
    """Read a format.

    Raises:
        SourceError: It is not of raw video, says no size, or has another layout than those known here.
    """
    caps = text.rstrip(b"\x00").decode("utf-8", "replace")
    fields = dict(re.findall(r"([a-z-]+)=\([a-z]+\)\"?([^,;\"]+)", caps))
    if not caps.startswith("video/x-raw") or not {"width", "height", "format"} <= fields.keys():
        raise SourceError(f"expected raw video with a size, the stream is {caps[:120]!r}")
    numerator, _, denominator = fields.get("framerate", "0/1").partition("/")
    rate = float(numerator) / float(denominator or 1)
    layout = _FORMATS.get(fields["format"].strip())
    if layout is None:
        raise SourceError(f"expected frames as {', '.join(_FORMATS)}, the stream has {fields['format']}")
    color, levels = _colorimetry(fields.get("colorimetry", "").strip())
    size_hw = (int(fields["height"]), int(fields["width"]))
    return RawFormat(size_hw, layout, plausible_fps(rate), color, levels)


def _colorimetry(text: str) -> tuple[Color | None, LevelRange | None]:
    if text in _NAMED:
        return _NAMED[text]
    levels, _, rest = text.partition(":")
    return _MATRICES.get(rest.partition(":")[0]), _RANGES.get(levels)


def write_caps(size_hw: tuple[int, int], fps: float | None, pixel_format: PixelFormat = "bgr") -> bytes:
    """A format, which says nothing of matrix and range."""
    rate = round((fps or 0.0) * 1000)
    return (
        f"video/x-raw, format=(string){pixel_format.upper()}, "
        f"width=(int){size_hw[1]}, height=(int){size_hw[0]}, "
        f"framerate=(fraction){rate}/1000\x00"
    ).encode()


def write(fd: int, data: bytes | memoryview) -> None:
    """Write all of it."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(fd, view) :]


def padded_row(length: int) -> int:
    """Bytes from one row to the next: GStreamer extends each to a multiple of four."""
    return (length + 3) // 4 * 4
