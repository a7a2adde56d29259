"""A folder of pictures, one of each result: what the sinks that fill one have in common."""

from __future__ import annotations

import logging
import os
import re
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from danet_runtime.dependencies import opencv
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files.atomic import replacing
from danet_runtime.files.durability import sync_file, sync_folder
from danet_runtime.files.names import fitting_name
from danet_runtime.files.partials import remove_dead_in
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.presence import LOOK_EVERY_S, gone_from
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.writing.flushing import Flusher

logger = logging.getLogger(__name__)

_PARTIALS: Final = re.compile(r"\..+\.\w[\w-]*\.partial\.png")


class PictureFolder(ABC):
    """Writes one PNG of every result; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    A picture is called as its result's was (``street.jpg`` gives ``street.png``), or ``frame_000042.png`` by
    its id in a video; a second one of the same stem gets its id behind it. Each file appears whole or not at
    all, also where the process is killed. The files of the last second are flushed to the disk together
    (:mod:`danet_runtime.sinks.writing.flushing`), and the rest at the end: after a power cut those of the
    last second may be missing, empty or cut, and all before them are whole.

    One that cannot be written, as on a full disk, is missing, and the next one is tried. A folder that is
    removed, moved or replaced on the way is noticed within a second and at the end, and made again.

    Args:
        folder: Folder that is written to; it is made where it is missing.
        overwrite: Whether it may hold files already. Only files of the same names are replaced, nothing is
            removed.

    Raises:
        UsageError: ``folder`` is a file, or holds files and ``overwrite`` is false.

    Attributes:
        name: What the folder holds.
        holes: Sentences, each on results that are missing in the output.
        recovers: Whether the failure of the last write may pass: a later one may succeed.
    """

    name: str

    def __init__(self, folder: str | Path, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder} is a file; expected a folder for the {self.name}")
        if not overwrite and self.folder.is_dir() and any(self.folder.iterdir()):
            raise UsageError(
                f"{self.folder} holds files already; give another folder, or --overwrite to write into it"
            )
        self.holes: list[str] = []
        self.recovers = False
        self._folder_fd = -1
        self._in_folder = 0
        self._looked_s = 0.0
        self._stems: set[str] = set()
        self._written = 0
        self._unflushed: list[Path] = []
        self._flusher: Flusher | None = None

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest picture was written that may not be on the disk."""
        return self._flusher.behind_s if self._flusher is not None else 0.0

    def open(self, stream_format: StreamFormat) -> None:
        """Remove what a killed process left unfinished; the folder is made with the first picture.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        opencv(f"writing {self.name}")
        self.adopt(stream_format)
        remove_dead_in(self.folder, _PARTIALS)
        self._flusher = Flusher(self.folder.name, self._flush)
        self._flusher.start()

    @abstractmethod
    def adopt(self, stream_format: StreamFormat) -> None:
        """Take results of this format from now on."""

    @abstractmethod
    def _encode(self, result: Result) -> bytes:
        """The picture of a result as a PNG file; may raise SinkError."""

    def write(self, result: Result) -> None:
        """Write one picture.

        Raises:
            SinkError: It cannot be encoded or written.
        """
        if self._flusher is None:
            raise SinkError(f"{self.folder} is not open")
        self._look()
        self.recovers = False
        if self._flusher.error is not None:
            error, self._flusher.error = self._flusher.error, None  # told once; the next may be whole
            raise SinkError(self._lost(error)) from error
        stem = self._stem(result)
        file = self.folder / fitting_name(stem, ".png")
        data = self._encode(result)
        try:
            with replacing(file, one_of_many=True) as partial:
                partial.write_bytes(data)
            if self._folder_fd < 0:
                self._folder_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, UsageError) as error:
            self.recovers = True
            raise SinkError(f"{file} cannot be written: {error}") from error
        if result.name is not None:
            self._stems.add(stem)
        self._written += 1
        self._in_folder += 1
        self._unflushed.append(file)
        self._flusher.note()

    def describe(self) -> dict[str, Any]:
        """Folder and number of pictures, and what is missing."""
        description = {"kind": self.name, "path": str(self.folder), "frames": self._written}
        return {**description, "holes": list(self.holes)}

    def close(self) -> None:
        """Flush the pictures of the last second. Harmless when called twice.

        Raises:
            SinkError: Not all of them reached the disk.
        """
        if self._flusher is None:
            return
        try:
            self._flusher.close()
        except OSError as error:
            raise SinkError(self._lost(error)) from error
        finally:
            self._looked_s = 0.0
            self._look()
            self._let_go()

    def _look(self) -> None:
        """Look, once a second, whether the folder is still there; the next picture makes it again."""
        now_s = time.monotonic()
        if self._folder_fd < 0 or now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        gone = gone_from(self.folder, os.fstat(self._folder_fd))
        if gone is not None:
            words = (
                f"{self.folder} {gone.words} while {self.name} were written; those before are {gone.fate}: "
                f"{self._in_folder}"
            )
            self.holes.append(words)
            logger.warning("%s", words)
            self._let_go()

    def _let_go(self) -> None:
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
        self._folder_fd, self._in_folder = -1, 0

    def _flush(self) -> None:
        files, self._unflushed = self._unflushed, []
        for file in files:
            with suppress(FileNotFoundError):  # whoever uses the pictures may have moved it away already
                sync_file(file)
        with suppress(FileNotFoundError):
            sync_folder(self.folder)

    def _lost(self, error: OSError) -> str:
        return (
            f"{self.folder} cannot be flushed to the disk: {error.strerror or error}; {self.name} may be lost"
        )

    def _stem(self, result: Result) -> str:
        if result.name is None:
            return f"frame_{result.frame_id:06d}"
        stem = Path(result.name).stem
        if stem in self._stems:
            stem = f"{stem}_{result.frame_id:06d}"
        return stem
