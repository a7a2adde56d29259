"""The images that a model is calibrated on: found, chosen, checked and read one at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader

from danet_calibration.errors import CalibrationSetError
from danet_runtime.sources.images import PICTURE_SUFFIXES, decode_picture

CONSTANT_BELOW = 2.0
"""Standard deviation, in grey levels, below which an image shows nothing: a covered lens, a black frame."""

LABEL_VALUES = 64
"""A grey picture with at most so many values is a label image: a photograph has more, labels have one a class
(Cityscapes: 34)."""

# Where the images of a labelled data set are; the training images first, since the others measure accuracy.
_DATASET_FOLDERS = ("leftImg8bit/train", "leftImg8bit", "train/images", "images", "val/images")

_LABEL_FOLDERS = frozenset({"labels", "gtFine", "gtCoarse"})
_LABEL_STEMS = ("_labelIds", "_labelTrainIds", "_instanceIds", "_color")

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CalibrationSet:
    """A checked choice of images.

    Attributes:
        folder: Where they were found.
        files: In the order in which they are read.
        found: How many there were to choose from.
        sha256: Over the SHA-256 of every file, in order.
    """

    folder: Path
    files: tuple[Path, ...]
    found: int
    sha256: str

    def frames(self, size_hw: tuple[int, int]) -> Iterator[UInt8Array]:
        """Each image as (H, W, 3) BGR of ``size_hw``, one in memory at a time."""
        for file in self.files:
            yield _resized(decode_picture(file), size_hw)


class FrameReader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the frames of a set to a calibrator as the model's input ``frame``, one at a time.

    Args:
        images: The set.
        size_hw: The bundle's frame size.
    """

    def __init__(self, images: CalibrationSet, size_hw: tuple[int, int]) -> None:
        self._images = images
        self._size_hw = size_hw
        self.rewind()

    def get_next(self) -> dict[str, UInt8Array] | None:
        """The next frame, or None after the last."""
        frame = next(self._frames, None)
        return None if frame is None else {"frame": frame[None]}

    def get_first(self) -> dict[str, UInt8Array]:
        """The first frame, without taking it."""
        return {"frame": next(self._images.frames(self._size_hw))[None]}

    def rewind(self) -> None:
        """Begin again."""
        self._frames = self._images.frames(self._size_hw)


def choose_images(folder: Path, count: int) -> CalibrationSet:
    """Choose ``count`` images of a folder, evenly over its sorted names, and check each.

    Args:
        folder: In Cityscapes' layout (its train split is taken), a data set with ``images/``, or any folder,
            searched with its subfolders and what links lead to; label images are left out by their names.
        count: At most so many.

    Raises:
        CalibrationSetError: No images, images that show nothing, or label images.
        SourceError: An image that cannot be read.
    """
    if not folder.is_dir():
        raise CalibrationSetError(f"expected a folder of images at {folder}, found none")
    root = next((folder / name for name in _DATASET_FOLDERS if (folder / name).is_dir()), folder)
    found, labels = _find_pictures(root)
    if labels and not found:
        raise CalibrationSetError(
            f"{root} holds label images only ({len(labels)}, among them {labels[0]}); "
            "give the camera's frames that they belong to"
        )
    if not found:
        raise CalibrationSetError(
            f"{root} holds no images ({', '.join(PICTURE_SUFFIXES)}); give real frames of the camera"
        )
    positions = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    files = tuple(found[position] for position in positions)
    digest = hashlib.sha256()
    constant = []
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
        picture = decode_picture(file)
        if picture.std() < CONSTANT_BELOW:
            constant.append(file)
        elif _is_label_image(picture):
            raise CalibrationSetError(
                f"{file} is a label image (grey, with at most {LABEL_VALUES} values); "
                "take it out, or give the camera's frames"
            )
    if constant:
        raise CalibrationSetError(
            f"{len(constant)} of {len(files)} images show nothing but one colour, among them {constant[0]}; "
            "scales from such frames are too small: take them out, or give real frames of the camera"
        )
    return CalibrationSet(root, files, len(found), digest.hexdigest())


def _find_pictures(root: Path) -> tuple[list[Path], list[Path]]:
    """The photographs and the label images below ``root``, each sorted; every folder is entered once."""
    found: list[Path] = []
    labels: list[Path] = []
    entered = set()
    for name, folders, files in os.walk(root, followlinks=True):
        real = Path(name).resolve()
        if real in entered:  # a link back to it, or a second one
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        folder = Path(name)
        in_labels = not _LABEL_FOLDERS.isdisjoint((root.resolve().name, *folder.relative_to(root).parts))
        for file in (folder / file_name for file_name in files):
            if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file():
                is_label = in_labels or (file.suffix == ".png" and file.stem.endswith(_LABEL_STEMS))
                (labels if is_label else found).append(file)
    return sorted(found), sorted(labels)


def _is_label_image(picture: UInt8Array) -> bool:
    blue, green, red = (picture[..., channel] for channel in range(3))
    grey = np.array_equal(blue, green) and np.array_equal(blue, red)
    return grey and len(np.unique(blue)) <= LABEL_VALUES


def _resized(image: UInt8Array, size_hw: tuple[int, int]) -> UInt8Array:
    if image.shape[:2] == size_hw:
        return image
    return np.asarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
