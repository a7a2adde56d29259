"""Frames from pictures: one, a folder of them, or whatever a pattern matches; and what is none of them."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from danet_runtime.clock import now_ns
from danet_runtime.dependencies import OPENCV
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.decoding import PICTURE_SUFFIXES
from danet_runtime.pictures.reading import decode_picture
from danet_runtime.sources.protocol.source import FrameInfo
from danet_runtime.sources.protocol.statement import SourceStatement, Wanted
from danet_runtime.sources.protocol.uri import redacted

logger = logging.getLogger(__name__)

_KINDS = ("file", "folder")
_NUMBER: Final = re.compile(r"([0-9]+)")


def natural_order(file: Path) -> tuple[list[tuple[str, int]], str]:
    """A key to sort by as people number files, ``frame2`` before ``frame10``.

    Digits count as the number that they are, all else by its characters. Where all numbers have as many
    digits it is the order of the names. Names that are the same but for zeros in front are told apart by
    their characters.
    """
    parts = _NUMBER.split(str(file))
    words, numbers = parts[::2], [*map(int, parts[1::2]), -1]
    return list(zip(words, numbers, strict=True)), str(file)


class FoundPictures(list[Path]):
    """The pictures of a folder, in natural order.

    Attributes:
        skipped: How many files have a picture's suffix and are none: hidden, or no regular file.
    """

    skipped: int = 0


def is_picture(file: Path) -> bool:
    """Whether a file is taken as a picture: by its suffix, in whatever case."""
    return file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()


def pictures_in(folder: Path) -> FoundPictures:
    """The pictures of a folder, ``frame2`` before ``frame10``; folders inside it are left out.

    Hidden files are skipped, as a shell's ``*`` does: ``._001.jpg`` is what macOS keeps beside ``001.jpg`` on
    other file systems and no picture, ``.001.7-af.partial.png`` is not finished. So is what is no regular
    file, a FIFO for example. How many were skipped is logged, and so are files of other suffixes and folders.

    Raises:
        SourceError: There is none.
    """
    entries = sorted(folder.iterdir())
    there = [file for file in entries if file.suffix.lower() in PICTURE_SUFFIXES and not file.is_dir()]
    found = FoundPictures(
        sorted(
            (file for file in there if not file.name.startswith(".") and file.is_file()), key=natural_order
        )
    )
    found.skipped = len(there) - len(found)
    if found.skipped:
        logger.warning(
            "%s: skipped %d hidden or special files with a picture's suffix, as %s",
            folder,
            found.skipped,
            min(set(there) - set(found)).name,
        )
    others = [entry for entry in entries if entry not in set(there) and not entry.name.startswith(".")]
    if not found:
        besides = f"; {found.skipped} hidden or special files are skipped" if found.skipped else ""
        besides += f"; it holds {_summed(others)}" if others else ""
        if any(entry.is_dir() for entry in others):
            besides += f": {str(folder / '**' / '*.png')!r} takes those in them"
        raise SourceError(
            f"{folder} holds no picture; expected files with {', '.join(PICTURE_SUFFIXES)}{besides}"
        )
    say_left_out(str(folder), others)
    return found


def say_left_out(origin: str, others: Sequence[Path]) -> None:
    """Log what of a folder or a pattern is no picture; nothing where there is nothing."""
    if others:
        logger.warning(
            "%s: left out %s; pictures are %s", origin, _summed(others), ", ".join(PICTURE_SUFFIXES)
        )


def _summed(others: Sequence[Path]) -> str:
    """How many files and folders, and the first of each."""
    kinds = {kind: [entry for entry in others if entry.is_dir() == (kind == "folder")] for kind in _KINDS}
    return " and ".join(
        f"{len(held)} {kind}{'s' if len(held) > 1 else ''}, as {held[0].name}"
        for kind, held in kinds.items()
        if held
    )


class ImagesSource:
    """Pictures of one size, in the order given; see :class:`danet_runtime.sources.protocol.source.Source`.

    All must have the size of the first, since they share buffers and outputs; another size is an error that
    names the file.

    Args:
        files: The pictures.
        origin: Name of the pictures in errors and reports.
        skipped: How many files beside them were left out, for the report.

    Raises:
        SourceError: There is none, or the first cannot be decoded.
        MissingDependencyError: OpenCV is not installed.
    """

    statement: ClassVar = SourceStatement(
        name="images",
        form="a picture, a folder of pictures, a pattern such as 'frames/*.png'",
        help="frame2 comes before frame10",
        needs=((OPENCV,),),
        suffixes=PICTURE_SUFFIXES,
        reads_folders=True,
    )
    live = False
    fps: float | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The pictures; the place of each is its frame's id."""
        return tuple(self._files)

    @classmethod
    def named(cls, text: str, wanted: Wanted) -> ImagesSource:
        """The picture, those of a folder, or those that a pattern matches.

        See :class:`danet_runtime.sources.protocol.statement.RegisteredSource`.

        Raises:
            UsageError: A pattern matches none.
            SourceError: A folder holds none, or the first cannot be decoded.
            MissingDependencyError: OpenCV is not installed.
        """
        path = Path(text)
        if path.is_dir():
            found = pictures_in(path)
            return cls(found, text, skipped=found.skipped)
        if path.exists():
            return cls([path], text)
        matches = [Path(name) for name in glob.glob(text, recursive=True)]  # noqa: PTH207 - also absolute ones
        pictures = sorted((file for file in matches if is_picture(file)), key=natural_order)
        if not pictures:
            raise UsageError(f"{redacted(text)} matches no picture with {', '.join(PICTURE_SUFFIXES)}")
        say_left_out(text, sorted(file for file in matches if not is_picture(file) and not file.is_dir()))
        return cls(pictures, text)

    def __init__(self, files: Sequence[Path], origin: str, *, skipped: int = 0) -> None:
        if not files:
            raise SourceError(f"{origin} matches no picture")
        self._files = list(files)
        self._origin = origin
        self._skipped = skipped
        self._first: UInt8Array | None = decode_picture(self._files[0])
        self.size_hw: tuple[int, int] = (self._first.shape[0], self._first.shape[1])
        self.count: int | None = len(self._files)
        self._read = 0
        self._closed = False

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Decode the next picture and copy it in place.

        Raises:
            SourceError: It is unreadable or of another size, or the source is closed.
        """
        if self._closed:
            raise SourceError(f"{self._origin} is closed; open it again")
        if self._read == len(self._files):
            return None
        file = self._files[self._read]
        picture = decode_picture(file) if self._first is None else self._first
        self._first = None
        if picture.shape[:2] != self.size_hw:
            raise SourceError(
                f"{file} is {picture.shape[0]}x{picture.shape[1]}, the pictures before it are "
                f"{self.size_hw[0]}x{self.size_hw[1]} (height x width); "
                "run pictures of different sizes separately"
            )
        np.copyto(buffer, picture)
        info = FrameInfo(self._read, now_ns(), name=file.name)
        self._read += 1
        return info

    def describe(self) -> dict[str, Any]:
        """Origin, size and count."""
        return {
            "kind": "images",
            "path": self._origin,
            "size_hw": list(self.size_hw),
            "fps": None,
            "count": self.count,
            "skipped": self._skipped,
            "live": self.live,
        }

    def close(self) -> None:
        """Forget the pictures; harmless when called twice."""
        self._closed = True
        self._first = None
