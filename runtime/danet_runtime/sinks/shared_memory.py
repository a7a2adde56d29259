"""Masks in shared memory, for another process: written by a sink, read by :class:`SharedMaskReader`."""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from danet_runtime.backends.base import UInt8Array
from danet_runtime.clock import now_ns
from danet_runtime.colour_conversion import to_bgr
from danet_runtime.errors import SinkError, SourceError, UsageError
from danet_runtime.health import HealthState
from danet_runtime.result import Result
from danet_runtime.sinks import shared_layout as at
from danet_runtime.sinks.base import StreamFormat

_SLOTS = 4
_TRIES = 8
_SEQUENCE = struct.Struct("<Q")


class SharedMemorySink:
    """Keeps the newest masks in shared memory; see :class:`danet_runtime.sinks.base.Sink`.

    :mod:`danet_runtime.sinks.shared_layout` has the layout; only the same user may read it. The segment goes
    away with :meth:`close`. One that a killed process has left behind is replaced; one whose writer lives is
    not.

    Args:
        name: Of the segment: letters, digits, ``.``, ``_`` and ``-``.
        frame: Whether to share the frame beside its labels, in BGR whatever the camera delivers.

    Raises:
        UsageError: ``name`` is none.
    """

    name = "shm"

    def __init__(self, name: str, *, frame: bool = False) -> None:
        _check_name(name)
        self._path = at.segment_path(name)
        self._has_frame = frame
        self._fd = -1
        self._map: mmap.mmap | None = None
        self._written = 0

    def open(self, stream_format: StreamFormat) -> None:
        """Make the segment.

        Raises:
            SinkError: A living process writes to it, or there is no room, or no shared memory.
        """
        self._layout = at.Layout(stream_format.size_hw, _SLOTS, self._has_frame)
        if self._has_frame:
            self._bgr: UInt8Array = np.empty((*stream_format.size_hw, 3), np.uint8)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._refuse_living()
            self._fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held as long as this process lives
            os.posix_fallocate(self._fd, 0, self._layout.total_bytes)  # a write into a hole is a SIGBUS
            self._map = mmap.mmap(self._fd, self._layout.total_bytes)
            height, width = stream_format.size_hw
            at.HEADER.pack_into(
                self._map, 0, at.MAGIC, at.VERSION, _SLOTS, height, width, self._has_frame, 0,
                self._layout.slot_bytes, 0,
            )  # fmt: skip
            partial.rename(self._path)
        except OSError as error:
            self._release()
            with suppress(OSError):
                partial.unlink()
            raise SinkError(f"shared memory {self._path} cannot be made: {error.strerror}") from error

    def adopt(self, stream_format: StreamFormat) -> None:
        """Share masks of this size from now on, in a new segment of the same name; readers find it.

        Raises:
            SinkError: As :meth:`open`.
        """
        self.close()
        self.open(stream_format)

    def write(self, result: Result) -> None:
        """Copy one result into the next slot.

        Raises:
            SinkError: The sink is not open.
        """
        if self._map is None:
            raise SinkError(f"shared memory {self._path} is not open")
        number = self._written + 1
        start = self._layout.slot_at(number)
        told = at.FACTS.pack(
            result.frame_id,
            result.capture_time_ns,
            at.STATES.index(result.health),
            -1 if result.late is None else int(result.late),
        )
        labels = np.ascontiguousarray(result.labels).data.cast("B")
        checksum = zlib.crc32(labels, zlib.crc32(told))
        _SEQUENCE.pack_into(self._map, start, 2 * number - 1)
        labels_at = start + at.SLOT_HEADER_BYTES
        self._map[labels_at : labels_at + self._layout.labels_bytes] = labels
        if self._has_frame:
            buffer = None if result.pixels.format == "bgr" else self._bgr
            frame = np.ascontiguousarray(to_bgr(result.frame, result.pixels, buffer)).data.cast("B")
            checksum = zlib.crc32(frame, checksum)
            frame_at = start + self._layout.frame_at
            self._map[frame_at : frame_at + len(frame)] = frame
        source = result.source.encode()[: at.SOURCE_BYTES]
        at.SLOT.pack_into(self._map, start, 2 * number - 1, told, checksum, source)
        _SEQUENCE.pack_into(self._map, start, 2 * number)
        _SEQUENCE.pack_into(self._map, at.NEWEST_AT, number)
        self._written = number

    def describe(self) -> dict[str, Any]:
        """Path, bytes and masks written."""
        size = self._layout.total_bytes if self._written else None
        return {"kind": self.name, "path": str(self._path), "bytes": size, "frames": self._written}

    def close(self) -> None:
        """Say that no more comes, and take the segment away; harmless when called twice."""
        if self._map is not None:
            struct.pack_into("<I", self._map, at.FINISHED_AT, 1)
            with suppress(FileNotFoundError):
                self._path.unlink()
        self._release()

    def _refuse_living(self) -> None:
        try:
            other = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError(
                f"shared memory {self._path} is in use by another process; give another name"
            ) from None
        finally:
            os.close(other)

    def _release(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True, eq=False)
class SharedMask:
    """A mask out of shared memory; the arrays are the caller's own.

    Attributes:
        labels: (H, W) uint8; 255: no class.
        frame: (H, W, 3) uint8 BGR, where the writer shares it.
        number: How many masks the writer had written with it, from 1; a gap is masks that were not read.
        frame_id: Number of the frame in its source.
        capture_time_ns: When it was captured, on the clock of :mod:`danet_runtime.clock`.
        age_ms: Since then, when it was read.
        health: State of the stream when it was segmented.
        late: Whether its deadline was missed; ``None`` where there is none.
        source: Name of the camera.
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


class SharedMaskReader:
    """Reads the newest mask of a writer in another process; it never waits for the writer.

    Where the writer was started again, the next read finds its new segment.

    Args:
        name: Of the segment.

    Raises:
        UsageError: ``name`` is none.

    Attributes:
        size_hw: Height and width of the labels; ``None`` before the writer was seen.
    """

    def __init__(self, name: str) -> None:
        _check_name(name)
        self._path = at.segment_path(name)
        self._map: mmap.mmap | None = None
        self._inode = -1
        self._layout: at.Layout | None = None

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width of the labels; ``None`` before the writer was seen."""
        return self._layout.size_hw if self._layout else None

    def latest(self, max_age_ms: float) -> SharedMask | None:
        """The newest mask as a copy, or nothing where there is no writer or no mask that young.

        Raises:
            SourceError: The segment is of another version.
        """
        if not self._follow() or self._map is None:
            return None
        for _ in range(_TRIES):
            (number,) = _SEQUENCE.unpack_from(self._map, at.NEWEST_AT)
            if number == 0:
                return None
            mask = self._copy(number)
            if mask is not None:
                return mask if mask.age_ms <= max_age_ms else None
        return None

    def close(self) -> None:
        """Let go of the segment; harmless when called twice."""
        if self._map is not None:
            self._map.close()
            self._map = None
            self._inode = -1

    def __enter__(self) -> SharedMaskReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self) -> bool:
        """Open the segment that stands at the path now; false where there is none."""
        try:
            if self._path.stat().st_ino == self._inode and self._map is not None:
                return True
            self.close()
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.close()
            return False
        except OSError as error:
            raise SourceError(f"shared memory {self._path} cannot be read: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            if status.st_size < at.HEADER_BYTES:
                raise SourceError(f"{self._path} is no segment of danet: it has {status.st_size} bytes")
            mapped = mmap.mmap(fd, status.st_size, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        magic, version, slots, height, width, has_frame, _, slot_bytes, _ = at.HEADER.unpack_from(mapped, 0)
        layout = at.Layout((height, width), slots, bool(has_frame))
        sizes = (layout.slot_bytes, layout.total_bytes) == (slot_bytes, status.st_size)
        if (magic, version) != (at.MAGIC, at.VERSION) or not slots or not sizes:
            mapped.close()
            raise SourceError(
                f"{self._path}: expected a segment {at.MAGIC.decode()} of version {at.VERSION} (got "
                f"{magic!r}, {version}); use the same version of danet on both sides"
            )
        self._map, self._inode, self._layout = mapped, status.st_ino, layout
        return True

    def _copy(self, number: int) -> SharedMask | None:
        mapped, layout = self._map, self._layout
        if mapped is None or layout is None:
            return None
        start = layout.slot_at(number)
        sequence, told, checksum, source = at.SLOT.unpack_from(mapped, start)
        if sequence != 2 * number:
            return None
        labels_at = start + at.SLOT_HEADER_BYTES
        labels = np.empty(layout.size_hw, np.uint8)
        labels.data.cast("B")[:] = memoryview(mapped)[labels_at : labels_at + layout.labels_bytes]
        found = zlib.crc32(labels.data.cast("B"), zlib.crc32(told))
        frame: UInt8Array | None = None
        if layout.has_frame:
            frame_at = start + layout.frame_at
            frame = np.empty((*layout.size_hw, 3), np.uint8)
            frame.data.cast("B")[:] = memoryview(mapped)[frame_at : frame_at + frame.nbytes]
            found = zlib.crc32(frame.data.cast("B"), found)
        (after,) = _SEQUENCE.unpack_from(mapped, start)
        frame_id, captured_ns, state, late = at.FACTS.unpack(told)
        if after != sequence or found != checksum or state not in range(len(at.STATES)):
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
        )


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UsageError(
            f"shm:{name}: expected a name of up to 64 letters, digits, '.', '_' and '-', e.g. shm:front"
        )
