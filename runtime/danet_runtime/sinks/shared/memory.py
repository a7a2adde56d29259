"""Masks in shared memory, for another process: written by a sink, read by :class:`SharedMaskReader`."""

from __future__ import annotations

import os
import re
import struct
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from danet_runtime.clock import now_ns
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_bgr
from danet_runtime.results.health import HealthState
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted
from danet_runtime.sinks.shared import layout as at
from danet_runtime.sinks.shared.segment import (
    group_id,
    make_segment,
    open_segment,
    refuse_foreign,
    remove_segment,
    user_id,
    write_all,
)
from danet_runtime.sources.protocol.damage import DAMAGE_REASONS, DamageReason
from danet_runtime.sources.protocol.uri_options import UriOptions

_SLOTS = 4
_TRIES = 8


class SharedMemoryOptions(UriOptions):
    """The options behind ``shm:NAME``.

    Attributes:
        frame: Whether to share the frame beside its labels.
        group: Who may read it beside this user, by name or number.
    """

    frame: bool = Field(False, description="1")
    group: str | None = Field(None, description="GROUP")


class SharedMemorySink:
    """Keeps the newest masks in shared memory; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    :mod:`danet_runtime.sinks.shared.layout` has the layout. The segment goes away with :meth:`close`. One
    that a killed process of this user has left behind is replaced; one whose writer lives, a link, and what
    is somebody else's is not, and nothing is written through it.

    Args:
        name: Name of the segment: letters, digits, ``.``, ``_`` and ``-``.
        frame: Whether to share the frame beside its labels, in BGR whatever the camera delivers.
        group: Who may read it beside this user, by name or number; by default nobody. Nobody else writes.

    Raises:
        UsageError: ``name`` is none, or there is no such group.
    """

    name = "shm"
    statement: ClassVar = SinkStatement(
        name=name,
        form="shm:NAME",
        help="masks in shared memory, for another process",
        options=SharedMemoryOptions,
        schemes=("shm",),
    )

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> SharedMemorySink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        options = SharedMemoryOptions.of(f"shm:{rest}")
        return cls(rest.partition("?")[0], frame=options.frame, group=options.group)

    def __init__(self, name: str, *, frame: bool = False, group: str | int | None = None) -> None:
        _check_name(name)
        self._segment = name
        self._path = at.segment_path(name)
        self._has_frame = frame
        self._group = None if group is None else group_id(group)
        self._fd = -1
        self._written = 0

    def open(self, stream_format: StreamFormat) -> None:
        """Make the segment.

        Raises:
            SinkError: A living process writes to it, it is somebody else's, or there is no room, or no shared
                memory.
        """
        self._layout = at.Layout(stream_format.size_hw, _SLOTS, self._has_frame)
        if self._has_frame:
            self._bgr: UInt8Array = np.empty((*stream_format.size_hw, 3), np.uint8)
        header = self._layout.header(self._segment)
        try:
            self._fd = make_segment(self._path, self._layout.total_bytes, header, self._group)
        except OSError as error:
            raise SinkError(f"shared memory {self._path} cannot be made: {error.strerror}") from error

    def adopt(self, stream_format: StreamFormat) -> None:
        """Share masks of this size from now on, in a new segment of the same name; readers find it.

        Raises:
            SinkError: The segment cannot be made, see :meth:`open`.
        """
        self.close()
        self.open(stream_format)

    def write(self, result: Result) -> None:
        """Copy one result into the next slot.

        Raises:
            SinkError: The sink is not open, or its segment was cut and there is no room.
        """
        if self._fd < 0:
            raise SinkError(f"shared memory {self._path} is not open")
        number = self._written + 1
        facts = at.FACTS.pack(
            result.frame_id,
            result.capture_time_ns,
            at.STATES.index(result.health),
            -1 if result.late is None else int(result.late),
            0 if result.damage is None else 1 + DAMAGE_REASONS.index(result.damage),
        )
        source = result.source.encode()[: at.SOURCE_BYTES].ljust(at.SOURCE_BYTES, b"\0")
        labels = np.ascontiguousarray(result.labels).data.cast("B")
        checksum = zlib.crc32(labels, zlib.crc32(source, zlib.crc32(facts)))
        frame = None
        if self._has_frame:
            buffer = None if result.pixels.format == "bgr" else self._bgr
            frame = np.ascontiguousarray(to_bgr(result.frame, result.pixels, buffer)).data.cast("B")
            checksum = zlib.crc32(frame, checksum)
        start = self._layout.slot_at(number)
        try:
            # Not through a mapping: where the file was cut, that would end the process with SIGBUS.
            write_all(self._fd, at.SLOT.pack(2 * number - 1, facts, checksum, source), start)
            write_all(self._fd, labels, start + at.SLOT_HEADER_BYTES)
            if frame is not None:
                write_all(self._fd, frame, start + self._layout.frame_at)
            write_all(self._fd, at.SEQUENCE.pack(2 * number), start)
            write_all(self._fd, at.SEQUENCE.pack(number), at.NEWEST_AT)
        except OSError as error:
            raise SinkError(f"shared memory {self._path} cannot be written: {error.strerror}") from error
        self._written = number

    def describe(self) -> dict[str, Any]:
        """Path, bytes and masks written."""
        size = self._layout.total_bytes if self._written else None
        return {"kind": self.name, "path": str(self._path), "bytes": size, "frames": self._written}

    def close(self) -> None:
        """Say that no more comes, and take the segment away; harmless when called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                write_all(fd, struct.pack("<I", 1), at.FINISHED_AT)
                remove_segment(fd, self._path)
            finally:
                os.close(fd)


@dataclass(frozen=True, eq=False)
class SharedMask:
    """A mask out of shared memory; the arrays are the caller's own.

    Attributes:
        labels: (H, W) uint8; 255: no class.
        frame: (H, W, 3) uint8 BGR, where the writer shares it.
        number: How many masks the writer had written with it, from 1; a gap is masks that were not read.
        frame_id: Number of the frame in its source.
        capture_time_ns: When it was captured, on the clock of :mod:`danet_runtime.clock`.
        age_ms: Time from the capture until the mask was read, in milliseconds.
        health: State of the stream when it was segmented.
        late: Whether its deadline was missed; ``None`` where there is none.
        source: Name of the camera.
        damage: Why the frame is not to be trusted, where damaged frames are delivered; else ``None``.
    """

    labels: UInt8Array
    frame: UInt8Array | None
    number: int
    frame_id: int
    capture_time_ns: int
    age_ms: float
    health: HealthState
    late: bool | None
    source: str
    damage: DamageReason | None = None


class SharedMaskReader:
    """Reads the newest mask of a writer in another process; it never waits for the writer.

    Where the writer was started again, the next read finds its new segment. Every user of the machine may
    make a file of that name, so a segment counts only where its owner is the one that is trusted, or root,
    and nobody else can write to it.

    Args:
        name: Name of the segment.
        owner: The user that the writer runs as, by name or number; by default the reader's own.

    Raises:
        UsageError: ``name`` is none, or there is no such user.

    Attributes:
        size_hw: Height and width of the labels; ``None`` before the writer was seen.
    """

    def __init__(self, name: str, *, owner: str | int | None = None) -> None:
        _check_name(name)
        self._segment = name
        self._path = at.segment_path(name)
        self._owner = os.geteuid() if owner is None else user_id(owner)
        self._fd = -1
        self._identity: tuple[int, ...] = ()
        self._layout: at.Layout | None = None

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width of the labels; ``None`` before the writer was seen."""
        return self._layout.size_hw if self._layout else None

    def latest(self, max_age_ms: float) -> SharedMask | None:
        """The newest mask as a copy, or nothing where there is no writer or no mask that young.

        A mask whose capture time lies further in the future than ``max_age_ms`` has no age that means
        anything, and is not given out either.

        Raises:
            SourceError: The segment is of another version or contradicts itself, is a link, or is, or could
                have been written by, somebody else's.
        """
        if not self._follow() or self._layout is None:
            return None
        for _ in range(_TRIES):
            number = self._number_at(at.NEWEST_AT)
            if not number:
                return None
            mask = self._copy(self._layout, number)
            if mask is not None:
                return mask if abs(mask.age_ms) <= max_age_ms else None
        return None

    def close(self) -> None:
        """Let go of the segment; harmless when called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._identity = ()

    def __enter__(self) -> SharedMaskReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self) -> bool:
        """Open the segment that stands at the path now; false where there is none."""
        try:
            if self._fd >= 0 and _identity(self._path.lstat()) == self._identity:
                return True
            self.close()
            self._fd = open_segment(self._path, self._owner)
        except FileNotFoundError:
            self.close()
            return False
        try:
            status = os.fstat(self._fd)
            refuse_foreign(self._path, status, self._owner)
            header = os.pread(self._fd, at.HEADER.size, 0)
            self._layout = at.read_header(header, self._segment, status.st_size)
            self._identity = _identity(status)
        except BaseException:
            self.close()
            raise
        return True

    def _number_at(self, offset: int) -> int:
        """The number of a mask or of the sequence; 0 where the segment was cut."""
        data = os.pread(self._fd, at.SEQUENCE.size, offset)
        number: int = at.SEQUENCE.unpack(data)[0] if len(data) == at.SEQUENCE.size else 0
        return number

    def _copy(self, layout: at.Layout, number: int) -> SharedMask | None:
        # Not out of a mapping: where the file was cut, that would end the process with SIGBUS.
        start = layout.slot_at(number)
        header = bytearray(at.SLOT.size)
        labels = np.empty(layout.size_hw, np.uint8)
        frame: UInt8Array | None = None
        parts: list[Any] = [header, labels.data.cast("B")]
        if layout.has_frame:
            frame = np.empty((*layout.size_hw, 3), np.uint8)
            gap = layout.frame_at - at.SLOT_HEADER_BYTES - layout.labels_bytes
            parts += [bytearray(gap), frame.data.cast("B")]
        count = os.preadv(self._fd, parts, start)
        if count != sum(len(part) for part in parts):
            return None
        sequence, facts, checksum, source = at.SLOT.unpack(header)
        found = zlib.crc32(labels.data.cast("B"), zlib.crc32(source, zlib.crc32(facts)))
        if frame is not None:
            found = zlib.crc32(frame.data.cast("B"), found)
        if sequence != 2 * number or self._number_at(start) != sequence or found != checksum:
            return None
        frame_id, captured_ns, state, late, damage = at.FACTS.unpack(facts)
        if state not in range(len(at.STATES)) or late not in (-1, 0, 1):
            return None
        if damage not in range(1 + len(DAMAGE_REASONS)):
            return None
        return SharedMask(
            labels=labels,
            frame=frame,
            number=number,
            frame_id=frame_id,
            capture_time_ns=captured_ns,
            age_ms=(now_ns() - captured_ns) / 1e6,
            health=at.STATES[state],
            late=None if late < 0 else bool(late),
            source=source.rstrip(b"\0").decode("utf-8", "replace"),
            damage=DAMAGE_REASONS[damage - 1] if damage else None,
        )


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what must not change after the check; another segment, owner or mode is checked anew."""
    return (
        status.st_dev, status.st_ino, status.st_uid, status.st_mode, status.st_nlink, status.st_size
    )  # fmt: skip


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UsageError(
            f"shm:{name}: expected a name of up to 64 letters, digits, '.', '_' and '-', e.g. shm:front"
        )
