"""Sources of frames, and how a text names one."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from danet_runtime.errors import UsageError
from danet_runtime.sources.base import FrameInfo, Source

if TYPE_CHECKING:
    from danet_runtime.sources.camera import CameraSource
    from danet_runtime.sources.images import ImagesSource
    from danet_runtime.sources.video import VideoSource

__all__ = ["FrameInfo", "Source", "open_source"]

_ACCEPTED = (
    "a video file, a picture, a folder of pictures, a pattern such as 'frames/*.png', or a camera's index"
)


def open_source(text: str | Path) -> VideoSource | ImagesSource | CameraSource:
    """Open what ``text`` names: a file or folder that exists, a camera's index, or a pattern, in this order.

    A file is a picture by its suffix, else a video.

    Returns:
        The open source; the caller closes it, or hands it to a :class:`danet_runtime.Stream`.

    Raises:
        UsageError: ``text`` names none of these.
        SourceError: What it names cannot be read.
        MissingDependencyError: OpenCV is not installed.
    """
    from danet_runtime.sources.images import PICTURE_SUFFIXES, ImagesSource, pictures_in

    text = str(text)
    path = Path(text)
    if path.is_dir():
        return ImagesSource(pictures_in(path), text)
    if path.is_file():
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return ImagesSource([path], text)
        from danet_runtime.sources.video import VideoSource

        return VideoSource(path)
    if text.isdecimal():
        from danet_runtime.sources.camera import CameraSource

        return CameraSource(int(text))
    if glob.has_magic(text):
        found = sorted(Path(name) for name in glob.glob(text, recursive=True))  # noqa: PTH207 - also absolute ones
        pictures = [file for file in found if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()]
        if not pictures:
            raise UsageError(f"{text} matches no picture with {', '.join(PICTURE_SUFFIXES)}")
        return ImagesSource(pictures, text)
    raise UsageError(f"{text!r} is no source; expected {_ACCEPTED}")
