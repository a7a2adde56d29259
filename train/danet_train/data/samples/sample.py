"""One labelled image, and the interface of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple, overload

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from danet_train.classes import ClassTable
from danet_train.data.samples.faults import Skipped
from danet_train.data.samples.orientation import QUARTER_TURNS, stored, turned
from danet_train.errors import DataError
from danet_train.files.limited import read_limited
from danet_train.pictures.decoding import MOST_FILE_BYTES, PictureError, check, decode_checked
from danet_train.pictures.header import PictureHeader

Image = npt.NDArray[np.uint8]
_LABEL_BITS = 8
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GREY, _PNG_PALETTE = 0, 3


@dataclass(frozen=True)
class Sample:
    """One image and its labels; both arrays are the caller's own.

    Attributes:
        image: (H, W, 3) uint8 BGR, as OpenCV reads it.
        label: (H, W) uint8 train ids, 255 where ignored.
        name: Name of the image within its dataset, without the suffix.
    """

    image: Image
    label: Image
    name: str


@dataclass(frozen=True)
class Pair:
    """The name and the files of one sample."""

    name: str
    image: Path
    label: Path


class Dataset(Sequence[Sample]):
    """Samples of one split, read from their files at each access.

    Attributes:
        classes: The class table of the labels.
        pairs: The files, in the order of the samples.
        skipped: Images of the split that were left out because they have no labels.
        left_out: Files that belong to no sample of it, with the reasons.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: ClassTable,
        skipped: Sequence[Skipped] = (),
        left_out: Sequence[Skipped] = (),
    ) -> None:
        self.pairs = tuple(pairs)
        self.classes = classes
        self.skipped = tuple(skipped)
        self.left_out = tuple(left_out)

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
        size_hw = (image.shape[0], image.shape[1])
        return Sample(image, fitted_label(self.labels[index], pair.image, size_hw, pair.label), pair.name)


class Splits(NamedTuple):
    """The two splits of a run: to learn from, and to score on."""

    train: Dataset
    val: Dataset


class Labels(Sequence[Image]):
    """(H, W) uint8 train ids of each sample, 255 where ignored, read from its file at each access.

    They are as in the file: those of a picture that EXIF turns may lie as it is stored.
    """

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


def read_checked(path: Path) -> tuple[bytes, PictureHeader]:
    """Return the bytes and the header of a picture that is not too large and shows no damage.

    Raises:
        DataError: The file cannot be read, or is none.
    """
    try:
        data = read_limited(path, MOST_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path} is no picture: {error}") from error
    try:
        return data, check(data)
    except PictureError as error:
        raise DataError(f"{path} {error}") from error


def read_image(path: Path) -> Image:
    """Read a picture as (H, W, 3) uint8 BGR, upright as its EXIF asks.

    Raises:
        DataError: The file is missing, cut off, damaged, too large or no picture, as
            :mod:`danet_train.pictures.decoding` says.
    """
    return _decode(path, *read_checked(path), cv2.IMREAD_COLOR)


def read_label(path: Path) -> Image:
    """Read a label PNG as (H, W) uint8, its values unchanged; those of a palette PNG are its indices.

    Raises:
        DataError: The file is missing, cut off, damaged, no PNG, or not single-channel with at most 8 bits.
    """
    data, stated = read_checked(path)
    if not data.startswith(_PNG_SIGNATURE):
        raise DataError(f"{path} ({len(data)} bytes) is no PNG; label values must be stored as one")
    kind, bits = _png_header(data)
    if kind == "other" or bits > _LABEL_BITS:
        holds = "colors" if kind == "other" else f"values of {bits} bits"
        raise DataError(
            f"{path} must be a single-channel 8-bit PNG of label values, and holds {holds}; store the number "
            "of its class for each pixel"
        )
    if kind == "palette":
        label = _palette_indices(path, data)
    else:
        label = _decode(path, data, stated, cv2.IMREAD_UNCHANGED)
    if label.ndim != 2:  # grey with a transparent value
        label = np.ascontiguousarray(label[..., 0])
    if kind == "grey" and bits < _LABEL_BITS:  # OpenCV spreads values of fewer bits over 0..255
        label = np.asarray(label // (255 // (2**bits - 1)), np.uint8)
    if b"eXIf" in data and (lies := stored(data)) is not None:
        return turned(label, lies.orientation)
    return label


def fitted_label(label: Image, picture: Path, size_hw: tuple[int, int], origin: Path) -> Image:
    """Return the labels of an upright picture: unchanged where they have its size, or turned as it is.

    Args:
        label: (h, w) values from :func:`read_label`, or train ids.
        picture: The file of the picture.
        size_hw: Size of the upright picture.
        origin: The file of the labels.

    Returns:
        (H, W) of ``size_hw``.

    Raises:
        DataError: The labels have neither the upright picture's size nor the stored one.
    """
    if label.shape == size_hw:
        return label
    lies = stored(read_checked(picture)[0]) if label.shape == size_hw[::-1] else None
    if lies is not None and lies.orientation in QUARTER_TURNS and (lies.height, lies.width) == label.shape:
        return turned(label, lies.orientation)
    raise DataError(
        f"{picture} is {size_hw[1]}x{size_hw[0]}, but {origin} is {label.shape[1]}x{label.shape[0]}; an "
        "image and its labels must have the same size"
    )


class _PngHeader(NamedTuple):
    """The kind of a PNG's values (grey, palette indices or other), and the bits of a value."""

    kind: Literal["grey", "palette", "other"]
    bits: int


def _png_header(data: bytes) -> _PngHeader:
    """Read the header of a whole PNG (PNG specification, third edition, section 11.2.1)."""
    bits, color = data[24], data[25]
    kinds: dict[int, Literal["grey", "palette"]] = {_PNG_GREY: "grey", _PNG_PALETTE: "palette"}
    return _PngHeader(kinds.get(color, "other"), bits)


def _palette_indices(path: Path, data: bytes) -> Image:
    # OpenCV would give the colors.
    try:
        with PIL.Image.open(BytesIO(data)) as picture:
            return np.array(picture, np.uint8)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path} is damaged: {error}; copy it again") from error


def _decode(path: Path, data: bytes, stated: PictureHeader, flags: int) -> Image:
    try:
        return decode_checked(data, stated, flags)
    except PictureError as error:
        raise DataError(f"{path} {error}") from error
