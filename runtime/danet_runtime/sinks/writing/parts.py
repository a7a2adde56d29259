"""One output as a row of files: what runs all day is split in time, and what breaks goes on in a new file."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from danet_runtime.errors import SinkError, SinkFormatError, UsageError
from danet_runtime.files.atomic import is_full
from danet_runtime.files.names import MOST_NAME_BYTES, cut
from danet_runtime.files.targets import check_seekable, is_stream
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.abilities import AdaptableSink, FlushingSink
from danet_runtime.sinks.protocol.pause import Pause
from danet_runtime.sinks.protocol.presence import LOOK_EVERY_S, gone_from
from danet_runtime.sinks.protocol.presentation import DEFAULT_FPS, PresentationClock
from danet_runtime.sinks.protocol.sink import StreamFormat

logger = logging.getLogger(__name__)

_DIGITS: Final = 4
_NUMBER_BYTES: Final = 9  # a dash and the number of any part
_ROOM_BYTES: Final = 4 << 20
_ROOM_SHARE: Final = 20


@runtime_checkable
class FileSink(AdaptableSink, FlushingSink, Protocol):
    """A sink that writes one file."""

    path: Path

    @property
    def descriptor(self) -> int:
        """The open file; -1 where there is none."""


def part_path(path: Path, number: int) -> Path:
    """The path of one part: ``drive.mp4`` becomes ``drive-0000.mp4``; a stem is cut that leaves no room."""
    return path.with_name(f"{_part_stem(path)}-{number:0{_DIGITS}d}{path.suffix}")


def _part_stem(path: Path) -> str:
    return cut(path.stem, MOST_NAME_BYTES - _NUMBER_BYTES - len(os.fsencode(path.suffix)))


def parts_of(path: Path) -> list[Path]:
    """The parts that are there, in order."""
    name = re.compile(rf"{re.escape(_part_stem(path))}-\d{{{_DIGITS},}}{re.escape(path.suffix)}")
    if not path.parent.is_dir():
        return []
    found = [file for file in path.parent.iterdir() if name.fullmatch(file.name)]
    return sorted(found, key=lambda file: (len(file.name), file.name))


class PartedSink:
    """Begins a new file where one ends; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    A file ends after ``split_minutes`` of what is shown (those of the camera, or of the file that is played;
    nothing is begun while nothing comes), and whenever it breaks: the disk is full or lost, or somebody has
    removed, moved or replaced the file or its folder, which is looked for every second and at the end. Where
    it is split, one also ends where results of another size come and a file has one size. A result is in
    exactly one file.

    After a break it is tried again with pauses that double from 0.5 to 15 s; where the disk was full, only
    once 4 MiB (or a twentieth of a smaller disk) are free again. Writes in a pause fail at once. It goes on
    under the next name that is free, ``drive-0001.mp4``, in a folder that is made again. What is missing is
    said in :attr:`holes`; such an output is not whole.

    Args:
        make: Makes the sink of one part, given its path.
        path: Path of the output, from which :func:`part_path` makes the paths of the parts.
        minutes: How much a part holds; ``None``: there is one file, at ``path``, unless it breaks.
        overwrite: Whether parts that are there may be replaced.

    Raises:
        UsageError: ``minutes`` is out of range, parts are there and ``overwrite`` is false, or ``make``
            refuses the path.

    Attributes:
        holes: Sentences, each on results that are missing in the output.
        recovers: Whether the failure of the last write may pass: a later one may succeed.
    """

    def __init__(
        self,
        make: Callable[[Path], FileSink],
        path: str | Path,
        minutes: float | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._make = make
        self._is_split = minutes is not None
        self._seconds = float("inf")
        if minutes is not None:
            if not minutes > 0:
                raise UsageError(f"a part must hold more than 0 minutes (got {minutes:g})")
            check_seekable(self.path)
            there = parts_of(self.path)
            if there and not overwrite:
                raise UsageError(
                    f"{there[0]} exists already; give another path, or --overwrite to replace it"
                )
            self._seconds = 60.0 * minutes
        self._number = 0
        self._is_broken = False
        self._part: FileSink | None = make(self._next_path() if self._is_split else self.path)
        self.name = self._part.name
        self.holes: list[str] = []
        self.recovers = False
        self._format: StreamFormat | None = None
        self._began_s = 0.0
        self._frames = 0
        self._done: list[dict[str, Any]] = []
        self._last: dict[str, Any] = self._part.describe()
        self._looked_s = 0.0
        self._pause = Pause()
        self._problem: SinkError | None = None

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest of the part was written that may not be on the disk."""
        return self._part.unflushed_s if self._part is not None else 0.0

    def open(self, stream_format: StreamFormat) -> None:
        """Open the first part.

        Raises:
            SinkError: It cannot be written.
        """
        self._format = stream_format
        self._clock = PresentationClock(
            stream_format.fps or DEFAULT_FPS, is_variable=stream_format.is_variable
        )
        if self._part is not None:
            self._part.open(stream_format)

    def adopt(self, stream_format: StreamFormat) -> None:
        """Take results of another size or format: in a new part, where the one that is written cannot.

        Raises:
            SinkFormatError: It cannot, and the output is not split.
        """
        try:
            if self._part is not None:
                self._part.adopt(stream_format)
        except SinkFormatError:
            if not self._is_split:
                raise
            if (problem := self._finish()) is not None:
                self._tell(str(problem))
        self._format = stream_format

    def write(self, result: Result) -> None:
        """Write one result, into a new part where it is time for one.

        Raises:
            SinkError: It cannot be written.
        """
        if self._format is None:
            raise SinkError(f"{self.path} is not open")
        now_s = self._clock.seconds(result)
        if self._part is not None and now_s - self._began_s >= self._seconds:
            if (problem := self._finish()) is not None:
                self._tell(str(problem))
        else:
            self._look()
        try:
            if self._part is None:
                self._begin(self._format, now_s)
            self._write_to_part(result)
        except SinkError as error:
            self._note_failure(error)
            raise
        self._frames += 1
        if self._is_broken:
            self._is_broken = False
            self._tell(f"it goes on in {self._path_of_part()}")
        self.recovers, self._problem = False, None
        self._pause.forget()

    def describe(self) -> dict[str, Any]:
        """The one file as its sink describes it; of several each, and the frames in all of them."""
        current = self._part.describe() if self._part is not None else None
        parts = [part for part in (*self._done, current) if part is not None]
        written = [part for part in parts if part.get("frames")]
        if not self._is_split and len(written) < 2:
            return {**(written or parts or [self._last])[-1], "holes": list(self.holes)}
        description = {"kind": self.name, "path": str(self.path), "frames": self._frames, "parts": written}
        return {**description, "holes": list(self.holes)}

    def close(self) -> None:
        """Finish the part that is being written; harmless when called twice.

        Raises:
            SinkError: It is not whole.
        """
        self._looked_s = 0.0
        self._look()
        if self._part is not None and (problem := self._finish()) is not None:
            raise problem

    def _begin(self, stream_format: StreamFormat, now_s: float) -> None:
        if self._problem is not None:
            self._await(self._problem)
        path = self._next_path()
        try:
            part = self._make(path)
        except UsageError as error:
            raise SinkError(f"{path} cannot be written: {error}") from error
        self._part, self._began_s, self._looked_s = part, now_s, time.monotonic()
        part.open(stream_format)

    def _next_path(self) -> Path:
        """The path of the next part: after a break nothing is replaced unasked, and never a link followed."""
        while True:
            path = part_path(self.path, self._number)
            is_in_the_way = (
                path.is_symlink() or is_stream(path) or (self._is_broken and os.path.lexists(path))
            )
            if not is_in_the_way:
                return path
            self._number += 1

    def _await(self, problem: SinkError) -> None:
        """Let the pause pass, and the disk have room: fail at once where that is not so yet."""
        left_s = self._pause.left_s
        cause = problem.__cause__
        if left_s <= 0 and isinstance(cause, OSError) and is_full(cause) and not _has_room(self.path.parent):
            self._pause.go_on()
            left_s = self._pause.left_s
        if left_s > 0:
            # Not how soon: every other wording would be another event of the health.
            raise SinkError(f"{problem}; it is tried again after a pause") from cause

    def _write_to_part(self, result: Result) -> None:
        if self._part is not None:
            self._part.write(result)

    def _note_failure(self, error: SinkError) -> None:
        if self._part is None and self._problem is not None and error.__cause__ is self._problem.__cause__:
            return  # in a pause
        self.recovers = isinstance(error.__cause__, (OSError, UsageError))
        self._break(error)
        self._pause.begin()

    def _break(self, problem: SinkError) -> None:
        if not self._is_broken:
            self._tell(str(problem))
        self._is_broken, self._problem = True, problem
        self._finish()

    def _look(self) -> None:
        """Look, once a second, whether the part is still at its path; it is over where it is not."""
        part, now_s = self._part, time.monotonic()
        if part is None or now_s - self._looked_s < LOOK_EVERY_S or part.descriptor < 0:
            return
        self._looked_s = now_s
        gone = gone_from(part.path, os.fstat(part.descriptor))
        if gone is None:
            return
        frames = part.describe().get("frames", 0)
        message = f"{part.path} {gone.words} while it was written; its frames are {gone.fate}: {frames}"
        self._break(SinkError(message))
        self._problem = None  # nothing is known against the next file

    def _path_of_part(self) -> Path:
        return self._part.path if self._part is not None else self.path

    def _tell(self, words: str) -> None:
        self.holes.append(words)
        logger.warning("%s", words)

    def _finish(self) -> SinkError | None:
        part, self._part = self._part, None
        self._number += 1
        if part is None:
            return None
        problem = None
        try:
            part.close()
        except SinkError as error:
            problem = error
        self._last = part.describe()
        self._done.append(self._last)
        return problem


def _has_room(folder: Path) -> bool:
    with suppress(OSError):
        there = os.statvfs(folder)
        free, size = there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize
        return free >= min(_ROOM_BYTES, size // _ROOM_SHARE)
    return True  # unknown: trying tells
