"""Pictures that come where a video was expected: by their names, or by a container that both share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from danet_runtime.errors import SourceError
from danet_runtime.pictures.decoding import PICTURE_SUFFIXES
from danet_runtime.pictures.header import read_header

_HEAD_BYTES: Final = 1 << 20
"""A JPEG has its size behind its EXIF data, previews and color profile."""

_STILL_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif")
"""Brands of ISO/IEC 23008-12 and AVIF, for pictures; sequences have brands of their own."""

_SUFFIXES: Final = {
    "JPEG": ".jpg",
    "WebP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "PNG": ".png",
    "PNM": ".ppm",
}


def refuse_stills(path: Path) -> None:
    """Refuse a HEIC or AVIF picture, which a reader of videos takes for one.

    A phone's is stored in tiles, each a stream of its own: FFmpeg gives out one of them as if it were all.

    Raises:
        SourceError: It is one.
    """
    head = _head(path, 12)
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        raise SourceError(
            f"{path} is a picture in a container of videos (HEIC or AVIF), which is not read; convert it to "
            f"one of {', '.join(PICTURE_SUFFIXES)}"
        )


def picture_in(path: Path) -> str | None:
    """Explain that a file is a picture which no reader of videos takes; ``None`` where it is no picture."""
    header = read_header(_head(path, _HEAD_BYTES))
    if header is None:
        return None
    suffix = _SUFFIXES[header.format]
    return (
        f"{path} is a {header.format} picture by its first bytes, and no video; pictures are known by their "
        f"suffix: name it {path.stem or path.name}{suffix}"
    )


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
