"""One labelled image, and what every dataset of them offers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import overload

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from danet_train.classes import ClassTable
from danet_train.data import jpeg, png
from danet_train.data.faults import Skipped
from danet_train.errors import DataError
from danet_train.limited_files import read_limited

Image = npt.NDArray[np.uint8]
_MOST_PIXELS = 89_478_485
"""Of a picture; beyond, Pillow takes one for a decompression bomb. As BGR it is 256 MiB."""
_MOST_FILE_BYTES = 256 << 20


@dataclass(frozen=True)
class Sample:
    """One image and its labels; both arrays are the caller's own.

    Attributes:
        image: (H, W, 3) uint8 BGR, as OpenCV reads it.
        label: (H, W) uint8 train ids, 255 where ignored.
        name: Of the image within its dataset, without the suffix.
    """

    image: Image
    label: Image
    name: str


@dataclass(frozen=True)
class Pair:
    """Where one sample lies."""

    name: str
    image: Path
    label: Path


class Dataset(Sequence[Sample]):
    """Samples of one split, read from their files at each access.

    Attributes:
        classes: What the labels mean.
        pairs: The files, in the order of the samples.
        skipped: Images of the split that were left out for want of labels.
    """

    def __init__(self, pairs: Sequence[Pair], classes: ClassTable, skipped: Sequence[Skipped] = ()) -> None:
        self.pairs = tuple(pairs)
        self.classes = classes
        self.skipped = tuple(skipped)

    @property
    def names(self) -> tuple[str, ...]:
        """The samples' names, in order."""
        return tuple(pair.name for pair in self.pairs)

    @property
    def labels(self) -> Labels:
        """The samples' labels alone, in order, read without their images."""
        return Labels(self.pairs, self.classes)

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Dataset: ...

    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        if isinstance(index, slice):
            return Dataset(self.pairs[index], self.classes)
        pair = self.pairs[index]
        image = read_image(pair.image)
        label = self.labels[index]
        if image.shape[:2] != label.shape:
            raise DataError(
                f"{pair.image} is {image.shape[1]}x{image.shape[0]}, but {pair.label} is "
                f"{label.shape[1]}x{label.shape[0]}; an image and its labels must have the same size"
            )
        return Sample(image, label, pair.name)


class Labels(Sequence[Image]):
    """(H, W) uint8 train ids of each sample, 255 where ignored, read from its file at each access."""

    def __init__(self, pairs: Sequence[Pair], classes: ClassTable) -> None:
        self._pairs = pairs
        self._classes = classes

    @property
    def names(self) -> tuple[str, ...]:
        """The samples' names, in order."""
        return tuple(pair.name for pair in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> Image: ...

    @overload
    def __getitem__(self, index: slice) -> Labels: ...

    def __getitem__(self, index: int | slice) -> Image | Labels:
        if isinstance(index, slice):
            return Labels(self._pairs[index], self._classes)
        path = self._pairs[index].label
        return self._classes.decode(read_label(path), str(path))


def read_image(path: Path) -> Image:
    """A PNG or JPEG as (H, W, 3) uint8 BGR.

    A JPEG has no checksums: that it is cut off is found out, damage in its middle is not.

    Raises:
        DataError: The file is missing, cut off, damaged, or no picture.
    """
    return _decode(path, _read_bytes(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def read_label(path: Path) -> Image:
    """A label PNG as (H, W) uint8, its values unchanged; those of a palette PNG are its indices.

    Raises:
        DataError: The file is missing, cut off, damaged, no PNG, or not single-channel with at most 8 bits.
    """
    data = _read_bytes(path)
    if not data.startswith(png.SIGNATURE):
        raise DataError(f"{path} ({len(data)} bytes) is no PNG; label values must be stored as one")
    kind, bits = png.header(data)
    if kind == "palette":
        return _palette_indices(path, data)
    label = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if label.ndim != 2 or label.dtype != np.uint8:
        raise DataError(
            f"{path} must be a single-channel 8-bit PNG of label values, not {label.dtype} {label.shape}"
        )
    # OpenCV spreads values of fewer bits over 0..255
    return label if bits == 8 else np.asarray(label // (255 // (2**bits - 1)), np.uint8)


def _palette_indices(path: Path, data: bytes) -> Image:
    # OpenCV would give the colours.
    try:
        with PIL.Image.open(BytesIO(data)) as picture:
            return np.array(picture, np.uint8)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path} is damaged: {error}; copy it again") from error


def _read_bytes(path: Path) -> bytes:
    """The bytes of a picture that is whole as far as its format can tell."""
    try:
        data = read_limited(path, _MOST_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path} is no picture: {error}") from error
    if data.startswith(png.SIGNATURE) and (found := png.damage(data)) is not None:
        raise DataError(f"{path} is damaged: {found}; copy it again")
    # OpenCV fills the rest of a cut-off picture with grey and says nothing.
    if data.startswith(jpeg.SIGNATURE) and not jpeg.is_whole(data):
        raise DataError(f"{path} is cut off after {len(data)} bytes, or damaged; copy it again")
    height, width = _stated_size_hw(path, data)
    if height * width > _MOST_PIXELS:
        raise DataError(f"{path} states {width}x{height} pixels; expected at most {_MOST_PIXELS} in all")
    return data


def _stated_size_hw(path: Path, data: bytes) -> tuple[int, int]:
    """What the header states: memory is taken for no more than that."""
    if data.startswith(png.SIGNATURE):
        return png.size_hw(data)
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.size_hw(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(BytesIO(data)) as picture:  # of another format; nothing is decoded yet
                return picture.height, picture.width
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} ({len(data)} bytes) is no picture, or is damaged; expected a PNG or JPEG"
        ) from error


def _decode(path: Path, data: bytes, flags: int) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise DataError(f"{path} is damaged: {error.err}") from error
    if image is None:
        raise DataError(f"{path} ({len(data)} bytes) is no picture, or is damaged; expected a PNG or JPEG")
    return np.asarray(image, dtype=image.dtype)
