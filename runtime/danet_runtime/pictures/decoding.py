"""The one place that decodes pictures: what they state is checked before memory is taken.

EXIF is obeyed, as OpenCV does for JPEG, PNG, WebP and TIFF: what comes out is upright. 16-bit values are
scaled to 8, those of a PGM or PPM by the white that it states (4095 of a camera of 12 bits), grey and
palettes become colors, alpha is dropped, CMYK is converted. Of a file with several pictures the first is
taken.

``danet_train`` and ``danet_runtime`` import no sibling, so each has this file; a test holds them equal.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from danet_runtime.pictures.header import MOST_PIXELS, PictureHeader, netpbm_white, read_header
from danet_runtime.pictures.wholeness import damage

MOST_FILE_BYTES: Final = 256 << 20
"""Bytes of a picture's file at most."""

PICTURE_SUFFIXES: Final = (
    *(".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff"),
    ".webp",
)
"""Suffixes of the files of a folder that are taken as pictures, in small letters."""

_BYTE, _TWO_BYTES = 0xFF, 0xFFFF

_FORMATS: Final = "PNG, JPEG, BMP, TIFF, WebP, PBM, PGM and PPM are taken"


class PictureError(ValueError):
    """A picture cannot be taken; the message goes on after the picture's name."""


def check(data: bytes, *, size_hw: tuple[int, int] | None = None) -> PictureHeader:
    """Read the header of a picture, and check that it is whole and not too large.

    Args:
        data: The whole file.
        size_hw: The size that it must state, where that is known; nothing else limits it then.

    Raises:
        PictureError: It is of no known format, is cut off or damaged, or states too many pixels or another
            size than it must.
    """
    header = read_header(data)
    if header is None:
        raise PictureError(
            f"is no picture of a known format, or is damaged ({len(data)} bytes); remove or replace it "
            f"({_FORMATS})"
        )
    stated = f"states {header.height}x{header.width} pixels (height x width)"
    if size_hw is not None and (header.height, header.width) != size_hw:
        raise PictureError(f"{stated}; expected {size_hw[0]}x{size_hw[1]}")
    if size_hw is None and header.height * header.width > MOST_PIXELS:
        raise PictureError(
            f"{stated}; expected at most {MOST_PIXELS} in all: make it smaller, or copy it again where its "
            "header is damaged"
        )
    if (found := damage(data)) is not None:
        raise PictureError(f"{found}; copy it again")
    return header


def decode(data: bytes, flags: int, *, size_hw: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """A picture as OpenCV decodes it, owned by the caller.

    Args:
        data: The whole file.
        flags: Flags for ``cv2.imdecode``.
        size_hw: The size that the picture must state, as for :func:`check`.

    Raises:
        PictureError: The picture is refused by :func:`check` or :func:`decode_checked`.
    """
    return decode_checked(data, check(data, size_hw=size_hw), flags)


def decode_checked(data: bytes, header: PictureHeader, flags: int) -> npt.NDArray[np.uint8]:
    """As :func:`decode`, where :func:`check` gave the header of the same bytes.

    Raises:
        PictureError: OpenCV cannot decode it, or not to 8 bits a value.
    """
    import cv2  # here: `import danet_runtime` needs numpy alone

    white = netpbm_white(data) if header.format == "PNM" else _BYTE
    is_scaled_here = white not in (_BYTE, _TWO_BYTES)  # OpenCV takes each value for a byte, or for two
    if is_scaled_here:
        flags |= cv2.IMREAD_ANYDEPTH
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PictureError(f"is damaged ({error.err}); remove or replace it") from error
    if picture is None:
        raise PictureError(
            f"is damaged or cut off, or a {header.format} of a kind that OpenCV {cv2.__version__} cannot "
            "decode; remove or replace it"
        )
    if is_scaled_here:
        levels = (np.arange(65536) * _BYTE + white // 2) // max(1, white)
        picture = np.minimum(levels, _BYTE).astype(np.uint8)[picture]
    if picture.dtype != np.uint8:
        raise PictureError(f"has values of {picture.dtype}; expected 8 bits a value: store it so")
    return np.asarray(picture, np.uint8)
