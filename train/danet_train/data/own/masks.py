"""Read a mask of any kind as codes, one a pixel: the value, the palette's entry or the color that it has."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image

from danet_train.classes.colors import Color
from danet_train.classes.table import IGNORE
from danet_train.data.samples.orientation import stored, turned
from danet_train.data.samples.sample import read_checked
from danet_train.errors import DataError

Codes = npt.NDArray[np.uint32]
"""(H, W): a grey value; 2^24 times a palette's index plus its color; or a color, as 0xRRGGBB."""

MaskKind = Literal["grey", "palette", "color"]

CLEAR: Final = 1 << 24
"""The code of a pixel that an alpha channel hides."""

_LOSSY: Final = {"JPEG": "JPEG", "WebP": "WebP"}
_OPAQUE: Final = 128
_PNG_GREYS: Final = (0, 4)
_BYTE, _BITS16 = 8, 16
_WHITE16: Final = 0xFFFF


class Mask(NamedTuple):
    """A mask as it is stored.

    Attributes:
        kind: The kind of its values.
        codes: (H, W) codes, upright by the mask's own EXIF; the caller's own.
    """

    kind: MaskKind
    codes: Codes


def color_of(code: int) -> Color:
    """Return the color in a code, red, green and blue."""
    return code >> 16 & 0xFF, code >> 8 & 0xFF, code & 0xFF


def code_of(color: Color) -> int:
    """Return the code of a color."""
    return color[0] << 16 | color[1] << 8 | color[2]


def read_mask(path: Path) -> Mask:
    """Read a mask: grey of 1 to 16 bits, palette or color, with or without alpha, in a format without loss.

    Values of fewer than 8 bits stay as they are. Of 16 bits, 65535 becomes 255. Where alpha is below the
    half, a pixel is :data:`CLEAR`.

    Raises:
        DataError: The file is missing, cut off, damaged, too large, stored with loss (JPEG, WebP), or of
            values beyond 255.
    """
    data, header = read_checked(path)
    if header.format in _LOSSY:
        raise DataError(
            f"{path} is a mask stored as {header.format}, which changes colors and invents others along "
            "every border; export the masks again, as PNG"
        )
    if header.format == "PNG" and data[24] == _BITS16 and data[25] not in _PNG_GREYS:
        raise DataError(f"{path} holds colors of 16 bits; expected 8 bits a channel: export it so")
    try:
        with PIL.Image.open(BytesIO(data)) as picture:
            picture.load()
            mask = _read(picture, data, path)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path} is damaged: {error}; copy it again") from error
    lies = stored(data) if header.format in ("PNG", "TIFF") else None
    if lies is None or lies.orientation == 1:
        return mask
    return Mask(mask.kind, np.ascontiguousarray(turned(mask.codes, lies.orientation)))


def _read(picture: PIL.Image.Image, data: bytes, path: Path) -> Mask:
    mode = picture.mode
    if mode == "P" and picture.palette is not None:
        return Mask("palette", _palette_codes(picture))
    if mode == "1":
        return Mask("grey", np.asarray(picture, np.uint32))
    if mode == "L":
        values: Codes = np.asarray(picture, np.uint32)
        bits = data[24] if data.startswith(b"\x89PNG") else _BYTE
        return Mask(
            "grey", np.asarray(values // (255 // (2**bits - 1)), np.uint32) if bits < _BYTE else values
        )
    if mode.startswith("I"):
        return Mask("grey", _of_16_bits(np.asarray(picture.convert("I"), np.int64), path))
    if mode in ("LA", "PA"):
        grey, alpha = (np.asarray(band, np.uint32) for band in picture.convert("LA").split())
        return Mask("grey", np.where(alpha < _OPAQUE, np.uint32(CLEAR), grey).astype(np.uint32))
    if mode in ("RGB", "RGBA"):
        channels = np.asarray(picture, np.uint32)
        codes = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
        if mode == "RGBA":
            codes[channels[..., 3] < _OPAQUE] = CLEAR
        return Mask("color", codes.astype(np.uint32, copy=False))
    raise DataError(f"{path} is a mask of the kind {mode!r}; expected grey, palette or RGB: export it as one")


def _palette_codes(picture: PIL.Image.Image) -> Codes:
    colors = np.zeros((256, 3), np.uint32)
    stated = np.array(picture.getpalette() or [], np.uint32).reshape(-1, 3)[:256]
    colors[: len(stated)] = stated
    entries = np.arange(256, dtype=np.uint32) << 24 | colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]
    return np.asarray(entries[np.asarray(picture, np.uint8)], np.uint32)


def _of_16_bits(values: npt.NDArray[np.int64], path: Path) -> Codes:
    values = np.where(values == _WHITE16, IGNORE, values)
    highest = int(values.max(initial=0))
    if highest > IGNORE or values.min(initial=0) < 0:
        raise DataError(
            f"{path} holds values of 16 bits up to {highest}; expected the number of a class, at most 254: "
            "where it counts instances too, export the classes alone"
        )
    return values.astype(np.uint32)
