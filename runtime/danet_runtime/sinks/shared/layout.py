"""The layout of a shared-memory segment with masks, for writers and readers in any language.

The segment is the POSIX shared-memory object ``/danet-NAME`` (on Linux the file ``/dev/shm/danet-NAME``). All
numbers are little-endian, all offsets from the start of the segment::

    0     header, 4096 bytes
          0   char[8]   "DANETSHM"
          8   uint32    version of this layout: 2
          12  uint32    slots N
          16  uint32    height H
          20  uint32    width W
          24  uint32    1: every slot has the frame too, else 0
          28  uint32    1: the writer has finished
          32  uint64    bytes of a slot
          40  uint64    number of the newest mask, counted from 1; 0: there is none yet
          48  char[64]  NAME, zero-filled
    4096  N slots; mask number n is in slot n % N
          0   uint64    sequence: 2n - 1 while mask n is being written, 2n when it is whole
          8   int64     frame id
          16  int64     capture time in ns on CLOCK_BOOTTIME
          24  int32     health: 0 starting, 1 ready, 2 degraded, 3 stale, 4 fault
          28  int32     deadline: -1 none, 0 met, 1 missed
          32  int32     damage of the frame: 0 none, else 1 + the place in
          danet_runtime.sources.protocol.damage 36  int32     unused 40  uint32    CRC-32 (zlib) of bytes 8 to
          39 and 64 to 127, the labels, the frame where it is there 44  char[20]  unused 64  char[64]  name of
          the camera, UTF-8, zero-filled 128 uint8[H][W]     labels; 255: no class
              uint8[H][W][3]  the frame in BGR, at the next multiple of 64, where the header says so

To read: take the newest number n; read the sequence of its slot, which must be 2n; copy what is wanted; read
the sequence again. Where it has changed, or the checksum differs, the writer came round: start again. The
checksum holds on processors that reorder writes, and costs about a millisecond for two million labels.

Every user of a machine may make files in that folder. So open it with ``O_NOFOLLOW``, and before a byte is
believed see by ``fstat`` that it is a plain file with one link, of the user that is trusted, that group and
others may not write, and of the size that its header gives. A mapping of a file that is cut under it ends
the process with SIGBUS; only its owner can cut it, and danet does not. ``pread``, which danet's own reader
uses, gives fewer bytes instead. (The kernel's seals would forbid the cutting, but a file that can be sealed
has no name to be found by.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from danet_runtime.errors import SourceError
from danet_runtime.pictures.header import MOST_SIDE
from danet_runtime.results.health import HealthState

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory
MAGIC: Final = b"DANETSHM"
VERSION: Final = 2
HEADER_BYTES: Final = 4096
MOST_SLOTS: Final = 64
SLOT_HEADER_BYTES: Final = 128
STATES: Final[tuple[HealthState, ...]] = ("starting", "ready", "degraded", "stale", "fault")

HEADER = struct.Struct("<8sIIIIIIQQ64s")
SEQUENCE = struct.Struct("<Q")
SLOT = struct.Struct("<Q32sI20x64s")
FACTS = struct.Struct("<qqiii4x")
SOURCE_BYTES: Final = 64
FINISHED_AT: Final = 28
NEWEST_AT: Final = 40


@dataclass(frozen=True)
class Layout:
    """The layout of a segment: its slots, their size and what each holds.

    Attributes:
        size_hw: Height and width of the labels.
        slots: Number of masks that are kept.
        has_frame: Whether the frame is there, too.
    """

    size_hw: tuple[int, int]
    slots: int
    has_frame: bool

    @property
    def labels_bytes(self) -> int:
        """Bytes of the labels."""
        return self.size_hw[0] * self.size_hw[1]

    @property
    def frame_at(self) -> int:
        """Offset of the frame in its slot."""
        return _aligned(SLOT_HEADER_BYTES + self.labels_bytes)

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot."""
        return _aligned(self.frame_at + (3 * self.labels_bytes if self.has_frame else 0))

    @property
    def total_bytes(self) -> int:
        """Bytes of the segment."""
        return HEADER_BYTES + self.slots * self.slot_bytes

    def header(self, name: str) -> bytes:
        """Return the first bytes of a segment of this name, as they are before the first mask."""
        height, width = self.size_hw
        return HEADER.pack(
            MAGIC, VERSION, self.slots, height, width, self.has_frame, 0, self.slot_bytes, 0, name.encode()
        )

    def slot_at(self, number: int) -> int:
        """Offset of the slot of mask ``number``."""
        return HEADER_BYTES + number % self.slots * self.slot_bytes


def read_header(data: bytes, name: str, size: int) -> Layout:
    """Return the layout of a segment whose header, name and size agree.

    Args:
        data: First bytes of the segment.
        name: Name that the segment was looked for by.
        size: Size of the file in bytes.

    Raises:
        SourceError: They do not agree, or it is no segment, or one of another version.
    """
    if len(data) < HEADER.size or size < HEADER_BYTES or not data.startswith(MAGIC):
        raise SourceError(
            f"{segment_path(name)} is no segment of danet: it has {size} bytes, {data[:8]!r}..."
        )
    _, version, slots, height, width, has_frame, _, slot_bytes, _, named = HEADER.unpack_from(data)
    if version != VERSION:
        raise SourceError(
            f"{segment_path(name)}: expected a segment of version {VERSION} (got {version}); use the same "
            "version of danet on both sides"
        )
    layout = Layout((height, width), slots, has_frame == 1)
    if (
        named.rstrip(b"\0") != name.encode()
        or not 1 <= slots <= MOST_SLOTS
        or not (1 <= height <= MOST_SIDE and 1 <= width <= MOST_SIDE)
        or has_frame > 1
        or (layout.slot_bytes, layout.total_bytes) != (slot_bytes, size)
    ):
        raise SourceError(
            f"{segment_path(name)} contradicts itself: {slots} slots of {slot_bytes} bytes for "
            f"{height}x{width}, named {named.rstrip(bytes(1))!r}, in {size} bytes; start its writer again"
        )
    return layout


def segment_path(name: str) -> Path:
    """The file of a segment."""
    return FOLDER / f"danet-{name}"


def _aligned(count: int) -> int:
    return (count + 63) // 64 * 64
