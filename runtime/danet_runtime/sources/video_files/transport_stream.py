"""What the packets of a transport stream tell of its first picture (ISO 13818-1, 2.4.3).

FFmpeg tells a loss with the picture before the one that has it, so never one in the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

PACKETS: Final = {188: 0, 192: 4}
"""Bytes of a packet, and those that camcorders and discs (.m2ts, .mts) put before each."""

_SYNC: Final = 0x47
_MOST_BYTES: Final = 64 << 20
"""No first picture is larger, whatever stands between its packets."""


class _Packet(NamedTuple):
    """What the header of one says; ``None`` in place of one that begins with something else."""

    pid: int
    begins: bool
    counter: int
    has_payload: bool
    is_set_anew: bool


def lacks_in_its_first_picture(path: Path, pid: int) -> bool:
    """Whether packets of a stream are missing between the beginnings of its first two pictures.

    Each packet with content counts one further than the one before it, modulo 16, or is that once again.

    Args:
        path: Of the file.
        pid: Of the stream, its number in the file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(2 * max(PACKETS))
        size = next(
            (size for size, at in PACKETS.items() if head[at : at + 1] == head[at + size :][:1] == b"G"), 0
        )
        if not size:
            return False
        file.seek(0)
        last: int | None = None
        for _ in range(_MOST_BYTES // size):
            packet = _read(file.read(size)[PACKETS[size] :])
            if packet is None or (last is not None and packet.begins and packet.pid == pid):
                return False
            if packet.pid != pid or not packet.has_payload or (last is None and not packet.begins):
                continue
            if last is not None and not packet.is_set_anew and packet.counter not in (last, (last + 1) % 16):
                return True
            last = packet.counter
    return False


def _read(data: bytes) -> _Packet | None:
    if len(data) < min(PACKETS) or data[0] != _SYNC:
        return None
    has_more, has_payload = data[3] & 0x20, bool(data[3] & 0x10)
    is_set_anew = bool(has_more and data[4] and data[5] & 0x80)
    return _Packet(
        (data[1] & 0x1F) << 8 | data[2], bool(data[1] & 0x40), data[3] & 15, has_payload, is_set_anew
    )
