"""Pictures as this package's callers take them: :mod:`danet_runtime.pictures.decoding` with its errors named.

Frames of the user, the golden frame and its labels, calibration's frames and the pictures of a flight
recorder all come through here.
"""

from __future__ import annotations

from pathlib import Path

from danet_runtime.dependencies import opencv
from danet_runtime.errors import SourceError
from danet_runtime.files.limited import read_limited
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures import decoding as picture_decoding
from danet_runtime.pictures.decoding import MOST_FILE_BYTES, PictureError


def read_picture_bytes(file: Path) -> bytes:
    """The content of a picture's file.

    Raises:
        SourceError: It cannot be read, or is larger than ``MOST_FILE_BYTES``.
    """
    try:
        return read_limited(file, MOST_FILE_BYTES)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"{error}; this is no picture") from error


def decode(data: bytes, origin: str, flags: int, *, size_hw: tuple[int, int] | None = None) -> UInt8Array:
    """A picture as OpenCV decodes it, owned by the caller.

    Args:
        data: The whole file.
        origin: Name of the picture in error messages.
        flags: Flags for ``cv2.imdecode``.
        size_hw: The size that it must state, where that is known; nothing else limits it then.

    Raises:
        SourceError: The picture is refused by :func:`danet_runtime.pictures.decoding.decode`.
        MissingDependencyError: OpenCV is not installed.
    """
    opencv(f"reading {origin}")
    try:
        return picture_decoding.decode(data, flags, size_hw=size_hw)
    except PictureError as error:
        raise SourceError(f"{origin} {error}") from error


def decode_picture(file: Path) -> UInt8Array:
    """One picture as (H, W, 3) uint8 BGR, turned upright where its EXIF data says so; owned by the caller.

    Raises:
        SourceError: It is no picture, is cut off, or is larger than :mod:`danet_runtime.pictures.reading`
            takes.
        MissingDependencyError: OpenCV is not installed.
    """
    cv2 = opencv(f"reading {file}")
    return decode(read_picture_bytes(file), str(file), cv2.IMREAD_COLOR)
