"""The orientation of a picture by EXIF, and of its labels.

OpenCV obeys EXIF where it decodes a picture, so that training and scoring use upright pictures, as viewers
and annotation tools show it. The labels are a file of their own, mostly without EXIF. Where they have the
upright picture's size they are upright already. Where they have the size that is stored, they are turned as
the picture is. A square picture, or one that is mirrored or upside down, has one size both ways: its labels
are taken as upright, unless other pictures of its data set show that labels lie as stored
(:mod:`danet_train.data.datasets.survey`).
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = 1
QUARTER_TURNS: Final = (5, 6, 7, 8)
"""The orientations that exchange height and width."""


Value = TypeVar("Value", bound=np.generic)


class Stored(NamedTuple):
    """The orientation and the size of a picture in its file.

    Attributes:
        orientation: EXIF's orientation, 1 to 8; 1 is upright.
        height: Height before it is turned.
        width: Width before it is turned.
    """

    orientation: int
    height: int
    width: int

    @property
    def is_ambiguous(self) -> bool:
        """Whether the size of labels leaves open if they are turned."""
        turned = self.orientation != _UPRIGHT
        return turned and (self.orientation not in QUARTER_TURNS or self.height == self.width)


def stored(picture: bytes | Path) -> Stored | None:
    """Read a picture's orientation from its header, without decoding; None where Pillow cannot read it.

    As OpenCV does: the tag of TIFF itself, or EXIF's, not XMP's.
    """
    source = BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        with PIL.Image.open(source) as opened:
            width, height = opened.size
            if isinstance(opened, TiffImageFile):
                value = opened.tag_v2.get(_ORIENTATION, _UPRIGHT)
                width, height = opened.tag_v2[IMAGEWIDTH], opened.tag_v2[IMAGELENGTH]
            else:
                exif = PIL.Image.Exif()
                exif.load(opened.info.get("exif") or _after_the_pixels(picture))
                value = exif.get(_ORIENTATION, _UPRIGHT)
    except (OSError, SyntaxError, ValueError, KeyError, PIL.Image.DecompressionBombError):
        return None
    return Stored(value if value in range(1, 9) else _UPRIGHT, height, width)


def _after_the_pixels(picture: bytes | Path) -> bytes:
    """Return the EXIF of a PNG that stands behind its pixels; empty where the bytes are not given."""
    if isinstance(picture, Path) or not picture.startswith(b"\x89PNG"):
        return b""
    at = picture.rfind(b"eXIf")
    length = int.from_bytes(picture[at - 4 : at], "big")
    return b"Exif\0\0" + picture[at + 4 : at + 4 + length] if at > 0 else b""


def turned(values: npt.NDArray[Value], orientation: int) -> npt.NDArray[Value]:
    """Turn stored values (h, w) upright by EXIF's ``orientation``; (w, h) for the quarter turns."""
    mirrored = values[:, ::-1] if orientation in (2, 4, 5, 7) else values
    # Counter-clockwise quarter turns, after the mirror.
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(mirrored, turns))
