"""One line of JSON a result: what a dashboard or a log shipper follows."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files.atomic import check_file_target
from danet_runtime.files.durability import make_folder
from danet_runtime.files.targets import followed, is_stream, is_taken, open_file, open_stream
from danet_runtime.results.result import Result, label_counts
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted
from danet_runtime.sinks.writing.flushing import Flusher


class JsonLinesSink:
    """Writes one JSON object a line and result; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    Keys: ``frame_id``, ``source``, ``name``, ``capture_time_ns`` (on the clock of
    :mod:`danet_runtime.clock`), ``capture_clock``, ``media_time_ms``, ``age_ms``, ``late``, ``health``,
    ``damage``, ``stages_ms``, ``shares`` (of the frame's pixels, by the name of the class; those that occur)
    and ``unlabelled`` (the share with no class).

    Every line goes to the operating system with one call, so that a reader sees it at once and a kill costs
    at most the line being written. A line that does not fit on the disk is taken back. A file is flushed to
    the disk every second (:mod:`danet_runtime.sinks.writing.flushing`) and at the end: a power cut costs the
    lines since, and may cut the last one that is left. A FIFO, a device or ``/dev/stdout`` is written
    through, see :mod:`danet_runtime.files.targets`.

    Args:
        path: Path of the file to write.
        overwrite: Whether a file there may be replaced.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is false, or it cannot be a file.
    """

    name = "jsonl"
    statement: ClassVar = SinkStatement(
        name=name,
        form="jsonl:PATH or a .jsonl file",
        help="one line of JSON a result",
        schemes=("jsonl",),
        suffixes=(".jsonl", ".ndjson"),
        writes="file",
        may_stream=True,
    )

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> JsonLinesSink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        return cls(rest, overwrite=wanted.overwrite)

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        if not str(path):
            raise UsageError("jsonl: needs a path, e.g. jsonl:results.jsonl")
        self.path = Path(path)
        if is_taken(self.path) and not overwrite:
            raise UsageError(f"{self.path} exists already; give another path, or --overwrite to replace it")
        check_file_target(self.path)
        self._target, self._overwrite = followed(self.path), overwrite
        self._fd = -1
        self._is_stream = is_stream(self.path)
        self._lines = 0
        self._bytes = 0
        self._flusher: Flusher | None = None  # of a file; nothing can be flushed of a pipe

    @property
    def descriptor(self) -> int:
        """The open file; -1 where there is none."""
        return self._fd

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest line was written that may not be on the disk."""
        return self._flusher.behind_s if self._flusher is not None else 0.0

    def open(self, stream_format: StreamFormat) -> None:
        """Make the file.

        Raises:
            SinkError: It cannot be made.
        """
        self._names = [entry.name for entry in stream_format.classes]
        try:
            if self._is_stream:
                self._fd = open_stream(self.path)
            else:
                make_folder(self._target.parent)
                self._fd = open_file(self._target, overwrite=self._overwrite)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                self._flusher = Flusher.of_file(self._target, self._fd)
                self._flusher.start()
        except OSError as error:
            raise SinkError(f"{self.path} cannot be written: {error.strerror}") from error

    def adopt(self, stream_format: StreamFormat) -> None:
        """Results of any size are taken."""

    def write(self, result: Result) -> None:
        """Write one line.

        Raises:
            SinkError: It cannot be written, as on a full disk; the lines before are whole.
        """
        if self._fd < 0:
            raise SinkError(f"{self.path} is not open")
        if self._flusher is not None and self._flusher.error is not None:
            raise SinkError(self._unflushed(self._flusher.error)) from self._flusher.error
        line = json.dumps(self._record(result), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        left = memoryview(line)
        try:
            while len(left):
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            if not self._is_stream:  # whose other lines are not this one's, and which has no position
                with suppress(OSError):
                    os.ftruncate(self._fd, self._bytes)
                    os.lseek(self._fd, self._bytes, os.SEEK_SET)
            raise SinkError(f"{self.path} cannot be written: {error.strerror}") from error
        self._lines += 1
        self._bytes += len(line)
        if self._flusher is not None:
            self._flusher.note()

    def describe(self) -> dict[str, Any]:
        """Path and number of lines."""
        return {"kind": self.name, "path": str(self.path), "frames": self._lines}

    def close(self) -> None:
        """Flush and close the file; one without lines is removed. Harmless when called twice.

        Raises:
            SinkError: Not everything reached the disk.
        """
        if self._fd < 0:
            return
        try:
            if self._flusher is not None:
                self._flusher.close()
        except OSError as error:
            raise SinkError(self._unflushed(error)) from error
        finally:
            os.close(self._fd)
            self._fd = -1
        if not self._lines and not self._is_stream and self.path.is_file():
            self.path.unlink()

    def _unflushed(self, error: OSError) -> str:
        return (
            f"{self.path} cannot be flushed to the disk: {error.strerror or error}; lines of it may be lost"
        )

    def _record(self, result: Result) -> dict[str, Any]:
        counts = label_counts(result.labels)
        total = result.labels.size
        named = counts[: len(self._names)]
        return {
            "frame_id": result.frame_id,
            "source": result.source,
            "name": result.name,
            "capture_time_ns": result.capture_time_ns,
            "capture_clock": result.capture_clock,
            "media_time_ms": result.media_time_ms,
            "age_ms": round(result.age_ms, 3),
            "late": result.late,
            "health": result.health,
            "damage": result.damage,
            "stages_ms": {stage: round(ms, 3) for stage, ms in result.stages_ms.items()},
            "shares": {
                name: count / total for name, count in zip(self._names, named.tolist(), strict=False) if count
            },
            "unlabelled": 1.0 - int(named.sum()) / total,
        }
