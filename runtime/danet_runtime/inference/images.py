"""Pictures that a segmenter takes: an array, a file, or a picture of Pillow."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np

from danet_runtime.errors import FrameError, SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.reading import decode_picture

_ORIENTATION_TAG: Final = 0x0112
_GREY_16_BITS: Final = "I;16"
_RANGELESS_MODES: Final = ("I", "F")


@runtime_checkable
class PillowPicture(Protocol):
    """The part of a picture of Pillow that is used; Pillow need not be installed."""

    mode: str

    def convert(self, mode: str) -> Any:  # noqa: ANN401 - another picture of Pillow
        """The picture in another mode."""

    def getexif(self) -> Any:  # noqa: ANN401 - a mapping of Pillow's
        """The EXIF data, by tag."""


Image: TypeAlias = UInt8Array | str | PathLike[str] | PillowPicture


Images: TypeAlias = list[Any] | tuple[Image, ...]


def taken(image: object) -> tuple[Any, str | None]:
    """The frame that a picture holds, and its name.

    Args:
        image: An array, the path of a picture, or a picture of Pillow; anything else is handed back.

    Returns:
        A C-contiguous copy of an array, in memory of its own; (H, W, 3) uint8 BGR of a file or a picture of
        Pillow, upright by its EXIF data. The name of a file, else ``None``.

    Raises:
        SourceError: The file is not there, or no picture.
        FrameError: The picture of Pillow cannot be converted, or its values have no known range.
        MissingDependencyError: OpenCV is not installed.
    """
    if isinstance(image, np.ndarray):
        return np.array(image, order="C"), None
    if isinstance(image, (str, PathLike)):
        file = Path(image)
        if file.is_dir():
            raise SourceError(
                f"{file} is a folder; a list of its pictures is taken, or Stream(segmenter, folder)"
            )
        return decode_picture(file), file.name
    if isinstance(image, PillowPicture):
        name = getattr(image, "filename", None)
        return _bgr_of(image), Path(name).name if name else None
    return image, None


def _bgr_of(image: PillowPicture) -> UInt8Array:
    if image.mode in _RANGELESS_MODES:  # Pillow cuts these at 255, and a bright picture comes out white
        raise FrameError(
            f"a picture of Pillow's mode {image.mode} does not say what white is; give the path of its file, "
            "or scale it to 0..255 and convert it to L"
        )
    try:
        if image.mode.startswith(_GREY_16_BITS):  # likewise; the upper bits are what reading the file gives
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            rgb = np.repeat(grey[..., None], 3, axis=2)
        else:
            rgb = np.asarray(image.convert("RGB"))
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except (OSError, ValueError) as error:
        raise FrameError(f"the picture of mode {image.mode} cannot be converted to RGB: {error}") from error
    return np.ascontiguousarray(_upright(rgb, orientation)[..., ::-1])


def _upright(picture: UInt8Array, orientation: object) -> UInt8Array:
    """Turn a picture as EXIF 2.32 says, section 4.6.4 A: where row 0 and column 0 are seen."""
    mirrored = {2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1]}
    turned = {
        5: picture.swapaxes(0, 1),
        6: picture[::-1].swapaxes(0, 1),
        7: picture[::-1, ::-1].swapaxes(0, 1),
        8: picture[:, ::-1].swapaxes(0, 1),
    }
    return {**mirrored, **turned}.get(orientation, picture) if isinstance(orientation, int) else picture
