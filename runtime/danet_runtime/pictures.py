"""The one place that decodes pictures: their files and their stated sizes are limited before memory is taken.

The limits are :data:`MOST_FILE_BYTES` for a file and ``MOST_PIXELS`` of :mod:`danet_runtime.picture_header`
for what it decodes to. Frames of the user, the golden frame and its labels, calibration's frames and the
pictures of a black box all come through here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from danet_runtime.backends.base import UInt8Array
from danet_runtime.dependencies import opencv
from danet_runtime.errors import SourceError
from danet_runtime.picture_header import MOST_PIXELS, is_complete, read_header
from danet_runtime.untrusted_files import read_limited

MOST_FILE_BYTES: Final = 256 << 20
"""Bytes of a picture's file at most."""


def read_picture_bytes(file: Path) -> bytes:
    """The content of a picture's file.

    Raises:
        SourceError: It cannot be read, or is larger than :data:`MOST_FILE_BYTES`.
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
        origin: What to call it in an error.
        flags: Of ``cv2.imdecode``.
        size_hw: The size that it must state, where that is known; nothing else limits it then.

    Raises:
        SourceError: It is no picture of a known format, is cut off or damaged, states too many pixels or
            another size than it must. (OpenCV fills the rest of a cut JPEG with grey and says nothing, so
            completeness is checked here.)
        MissingDependencyError: OpenCV is not installed.
    """
    cv2 = opencv(f"reading {origin}")
    if not is_complete(data):
        raise SourceError(f"{origin} is cut off ({len(data)} bytes, no end marker); copy the picture again")
    header = read_header(data)
    if header is None:
        raise SourceError(
            f"{origin} is no picture that OpenCV {cv2.__version__} can decode, or is damaged; remove or "
            "replace it (PNG, JPEG, BMP, TIFF, WebP, PBM, PGM and PPM are taken)"
        )
    stated = f"{origin} states {header.height}x{header.width} pixels (height x width)"
    if size_hw is not None and (header.height, header.width) != size_hw:
        raise SourceError(f"{stated}; expected {size_hw[0]}x{size_hw[1]}")
    if size_hw is None and header.height * header.width > MOST_PIXELS:
        raise SourceError(f"{stated}; expected at most {MOST_PIXELS} in all: make it smaller, or remove it")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise SourceError(f"{origin} is damaged ({error.err}); remove or replace it") from error
    if picture is None:
        raise SourceError(
            f"{origin} is no picture ({header.format}) that OpenCV {cv2.__version__} can decode; remove or "
            "replace it"
        )
    if picture.dtype != np.uint8:
        raise SourceError(f"{origin}: expected 8 bits a value, got {picture.dtype}; store it with 8 bits")
    return np.asarray(picture, np.uint8)
