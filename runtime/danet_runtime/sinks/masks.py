"""Labels as PNG files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danet_runtime.dependencies import opencv
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files import replacing
from danet_runtime.result import Result
from danet_runtime.sinks.base import StreamFormat


class MasksSink:
    """Writes the labels of every result as one PNG; see :class:`danet_runtime.sinks.base.Sink`.

    A PNG has one channel, the frame's size, and the labels as they are (255: no class). It is called as its
    picture was (``street.jpg`` gives ``street.png``), or ``frame_000042.png`` by its id in a video; a second
    picture of the same stem gets its id behind it. Each file appears whole or not at all.

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

    def open(self, stream_format: StreamFormat) -> None:
        """Make the folder when the first mask is written.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        self._cv2 = opencv("writing masks")

    def adopt(self, stream_format: StreamFormat) -> None:
        """Results of any size are taken."""

    def write(self, result: Result) -> None:
        """Write one mask.

        Raises:
            SinkError: It cannot be encoded or written.
        """
        file = self.folder / f"{self._stem(result)}.png"
        encoded, data = self._cv2.imencode(".png", result.labels)
        if not encoded:
            raise SinkError(f"{file} cannot be encoded as PNG")
        try:
            with replacing(file) as partial:
                partial.write_bytes(data.tobytes())
        except (OSError, UsageError) as error:
            raise SinkError(f"{file} cannot be written: {error}") from error
        self._written += 1

    def describe(self) -> dict[str, Any]:
        """Folder and number of masks."""
        return {"kind": self.name, "path": str(self.folder), "frames": self._written}

    def close(self) -> None:
        """Nothing is left to finish."""

    def _stem(self, result: Result) -> str:
        if result.name is None:
            return f"frame_{result.frame_id:06d}"
        stem = Path(result.name).stem
        if stem in self._stems:
            stem = f"{stem}_{result.frame_id:06d}"
        self._stems.add(stem)
        return stem
