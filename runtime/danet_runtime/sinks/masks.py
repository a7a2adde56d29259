"""Labels as PNG files in a folder."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from danet_runtime.dependencies import opencv
from danet_runtime.durability import sync_file, sync_folder
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files import replacing
from danet_runtime.partials import remove_dead_in
from danet_runtime.result import Result
from danet_runtime.sinks.base import StreamFormat
from danet_runtime.sinks.flushing import Flusher

_PARTIALS: Final = re.compile(r"\..+\.\w[\w-]*\.partial\.png")


class MasksSink:
    """Writes the labels of every result as one PNG; see :class:`danet_runtime.sinks.base.Sink`.

    A PNG has one channel, the frame's size, and the labels as they are (255: no class). It is called as its
    picture was (``street.jpg`` gives ``street.png``), or ``frame_000042.png`` by its id in a video; a second
    picture of the same stem gets its id behind it. Each file appears whole or not at all, also where the
    process is killed. The files of the last second are flushed to the disk together
    (:mod:`danet_runtime.sinks.flushing`), and the rest at the end: after a power cut those of the last second
    may be missing, empty or cut, and all before them are whole.

    Args:
        folder: Where to; made where it is missing.
        overwrite: Whether masks may be written into a folder that holds files already. Only files of the same
            names are replaced, nothing is removed.

    Raises:
        UsageError: ``folder`` is a file, or holds files and ``overwrite`` is false.
    """

    name = "masks"

    def __init__(self, folder: str | Path, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder} is a file; expected a folder for the masks")
        if not overwrite and self.folder.is_dir() and any(self.folder.iterdir()):
            raise UsageError(
                f"{self.folder} holds files already; give another folder, or --overwrite to write into it"
            )
        self._stems: set[str] = set()
        self._written = 0
        self._unflushed: list[Path] = []
        self._flusher: Flusher | None = None

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest mask was written that may not be on the disk."""
        return self._flusher.behind_s if self._flusher is not None else 0.0

    def open(self, stream_format: StreamFormat) -> None:
        """Remove what a killed process left unfinished; the folder is made when the first mask is written.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        self._cv2 = opencv("writing masks")
        remove_dead_in(self.folder, _PARTIALS)
        self._flusher = Flusher(self.folder.name, self._flush)
        self._flusher.start()

    def adopt(self, stream_format: StreamFormat) -> None:
        """Results of any size are taken."""

    def write(self, result: Result) -> None:
        """Write one mask.

        Raises:
            SinkError: It cannot be encoded or written.
        """
        if self._flusher is None:
            raise SinkError(f"{self.folder} is not open")
        if self._flusher.error is not None:
            raise SinkError(self._lost(self._flusher.error))
        file = self.folder / f"{self._stem(result)}.png"
        encoded, data = self._cv2.imencode(".png", result.labels)
        if not encoded:
            raise SinkError(f"{file} cannot be encoded as PNG")
        try:
            with replacing(file, one_of_many=True) as partial:
                partial.write_bytes(data.tobytes())
        except (OSError, UsageError) as error:
            raise SinkError(f"{file} cannot be written: {error}") from error
        self._written += 1
        self._unflushed.append(file)
        self._flusher.note()

    def describe(self) -> dict[str, Any]:
        """Folder and number of masks."""
        return {"kind": self.name, "path": str(self.folder), "frames": self._written}

    def close(self) -> None:
        """Flush the masks of the last second. Harmless when called twice.

        Raises:
            SinkError: Not all masks reached the disk.
        """
        if self._flusher is None:
            return
        try:
            self._flusher.close()
        except OSError as error:
            raise SinkError(self._lost(error)) from error

    def _flush(self) -> None:
        files, self._unflushed = self._unflushed, []
        for file in files:
            with suppress(FileNotFoundError):  # whoever uses the masks may have moved it away already
                sync_file(file)
        with suppress(FileNotFoundError):
            sync_folder(self.folder)

    def _lost(self, error: OSError) -> str:
        return f"{self.folder} cannot be flushed to the disk: {error.strerror or error}; masks may be lost"

    def _stem(self, result: Result) -> str:
        if result.name is None:
            return f"frame_{result.frame_id:06d}"
        stem = Path(result.name).stem
        if stem in self._stems:
            stem = f"{stem}_{result.frame_id:06d}"
        self._stems.add(stem)
        return stem
