"""One output as a row of files, for what runs all day: each is finished and whole before the next begins."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from danet_runtime.errors import SinkError, SinkFormatError, UsageError
from danet_runtime.result import Result
from danet_runtime.sinks.base import Sink, StreamFormat
from danet_runtime.sinks.presentation import PresentationClock

_DIGITS: Final = 4
_DEFAULT_FPS: Final = 10.0


def part_path(path: Path, number: int) -> Path:
    """The path of one part: ``drive.mp4`` becomes ``drive-0000.mp4``."""
    return path.with_name(f"{path.stem}-{number:0{_DIGITS}d}{path.suffix}")


def parts_of(path: Path) -> list[Path]:
    """The parts that are there, in order."""
    name = re.compile(rf"{re.escape(path.stem)}-\d{{{_DIGITS},}}{re.escape(path.suffix)}")
    if not path.parent.is_dir():
        return []
    found = [file for file in path.parent.iterdir() if name.fullmatch(file.name)]
    return sorted(found, key=lambda file: (len(file.name), file.name))


class PartedSink:
    """Begins a new file after so many minutes of what is shown; see :class:`danet_runtime.sinks.base.Sink`.

    A result is in exactly one part. With results of another size a part begins as well, where a file has one
    size. Minutes are those of the camera, or of the file that is played; nothing is begun while nothing
    comes. A part that cannot be finished counts as a failed write, and the next begins
    all the same.

    Args:
        make: Makes the sink of one part, of a path.
        path: As :func:`part_path` takes it.
        minutes: How much a part holds.
        overwrite: Whether parts that are there may be replaced.

    Raises:
        UsageError: ``minutes`` is out of range, parts are there and ``overwrite`` is false, or ``make``
            refuses the path.
    """

    def __init__(
        self, make: Callable[[Path], Sink], path: str | Path, minutes: float, *, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        if not minutes > 0:
            raise UsageError(f"a part must hold more than 0 minutes (got {minutes:g})")
        there = parts_of(self.path)
        if there and not overwrite:
            raise UsageError(f"{there[0]} exists already; give another path, or --overwrite to replace it")
        self._make = make
        self._seconds = 60.0 * minutes
        self._part: Sink | None = make(part_path(self.path, 0))
        self.name = self._part.name
        self._format: StreamFormat | None = None
        self._number = 0
        self._began_s = 0.0
        self._frames = 0
        self._done: list[dict[str, Any]] = []

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest of the part was written that may not be on the disk."""
        return getattr(self._part, "unflushed_s", 0.0)

    def open(self, stream_format: StreamFormat) -> None:
        """Open the first part.

        Raises:
            SinkError: It cannot be written.
        """
        self._format = stream_format
        self._clock = PresentationClock(
            stream_format.fps or _DEFAULT_FPS, is_variable=stream_format.is_variable
        )
        if self._part is not None:
            self._part.open(stream_format)

    def adopt(self, stream_format: StreamFormat) -> None:
        """Take results of another size or format: in a new part, where the one that is written cannot.

        Raises:
            SinkError: The part before could not be finished.
        """
        self._format = stream_format
        adopt = getattr(self._part, "adopt", None)
        try:
            if adopt is not None:
                adopt(stream_format)
                return
        except SinkFormatError:
            pass
        if (unfinished := self._finish()) is not None:
            raise unfinished

    def write(self, result: Result) -> None:
        """Write one result, into a new part where it is time for one.

        Raises:
            SinkError: It cannot be written, or the part before could not be finished.
        """
        if self._format is None:
            raise SinkError(f"{self.path} is not open")
        now_s = self._clock.seconds(result)
        unfinished: SinkError | None = None
        if self._part is not None and now_s - self._began_s >= self._seconds:
            unfinished = self._finish()
        if self._part is None:
            part = self._make(part_path(self.path, self._number))
            part.open(self._format)
            self._part, self._began_s = part, now_s
        self._part.write(result)
        self._frames += 1
        if unfinished is not None:
            raise unfinished

    def describe(self) -> dict[str, Any]:
        """The parts, each as its sink describes it, and the frames in all of them."""
        parts = [*self._done, *([self._part.describe()] if self._part is not None else [])]
        written = [part for part in parts if part.get("frames")]
        return {"kind": self.name, "path": str(self.path), "frames": self._frames, "parts": written}

    def close(self) -> None:
        """Finish the part that is being written; harmless when called twice.

        Raises:
            SinkError: It is not whole.
        """
        if self._part is not None and (problem := self._finish()) is not None:
            raise problem

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
        self._done.append(part.describe())
        return problem
