"""The images that a model is calibrated on: chosen and checked once, then read one at a time.

Found by :mod:`danet_calibration.images.pictures`, looked at by
:mod:`danet_calibration.images.near_duplicates`, chosen by :mod:`danet_calibration.images.selection`, refused
by :mod:`danet_calibration.images.frame_checks`, described by :mod:`danet_calibration.images.set_coverage`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from onnxruntime.quantization import CalibrationDataReader

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.frame_checks import check_frames, names_of
from danet_calibration.images.near_duplicates import Fingerprint, Progress, distinct_frames, fingerprints_of
from danet_calibration.images.pictures import Pictures, find_pictures
from danet_calibration.images.selection import Candidate, presample, select
from danet_calibration.images.set_coverage import SetCoverage, UsedFrame, describe_set
from danet_runtime.errors import SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.pictures.reading import decode, read_picture_bytes
from danet_train.data.datasets.pairing import summed

LEAST_FRAMES = 8
"""Least number of different frames in a folder, unless fewer are asked for."""

EXAMINED_FRAMES = 512
"""Number of frames of a folder that are examined, or twice the number chosen where that is more. To examine
a PNG of 1024x2048 takes about 40 ms."""


@dataclass(frozen=True)
class CalibrationSet:
    """A checked choice of images.

    Attributes:
        folder: Folder of the images.
        files: The chosen files in the order of reading; every beginning of it is spread over groups and
            brightness too.
        found: Number of images in the folder.
        sha256: SHA-256 over the SHA-256 of every file, in order.
        hashes: SHA-256 of each file, in order.
        coverage: Description of the set: groups, brightness, shapes, and what it lacks.
        held_out: Other frames of the folder that show different scenes, to compare calibrators on; None
            where none were asked for or none are left.
    """

    folder: Path
    files: tuple[Path, ...]
    found: int
    sha256: str
    hashes: tuple[str, ...]
    coverage: SetCoverage
    held_out: CalibrationSet | None = None

    def frames(self, size_hw: tuple[int, int]) -> Iterator[UInt8Array]:
        """Yield each image as (H, W, 3) BGR of ``size_hw``, one in memory at a time.

        Raises:
            CalibrationSetError: A file is no longer the one that was chosen.
        """
        for file, sha256 in zip(self.files, self.hashes, strict=True):
            yield _resized(_read_chosen(file, sha256), size_hw)


class FrameReader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the frames of a set to a calibrator as the model's input ``frame``, one at a time.

    Args:
        images: The set.
        size_hw: The bundle's frame size.
        pixels: Pixel format of the model's input, the manifest's ``frame.pixels``.
    """

    def __init__(self, images: CalibrationSet, size_hw: tuple[int, int], pixels: Pixels = BGR) -> None:
        self._images = images
        self._pixels = pixels
        self._size_hw = size_hw
        self.rewind()

    def get_next(self) -> dict[str, UInt8Array] | None:
        """Return the next frame, or None after the last.

        Raises:
            CalibrationSetError: A file is no longer the one that was chosen.
        """
        frame = next(self._frames, None)
        return None if frame is None else {"frame": to_pixel_format(frame, self._pixels)[None]}

    def get_first(self) -> dict[str, UInt8Array]:
        """Return the first frame, without taking it."""
        return {"frame": to_pixel_format(next(self._images.frames(self._size_hw)), self._pixels)[None]}

    def rewind(self) -> None:
        """Start again at the first frame."""
        self._frames = self._images.frames(self._size_hw)


def choose_images(
    folder: Path,
    count: int,
    held_out: int = 0,
    *,
    least: int = LEAST_FRAMES,
    frame_hw: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> CalibrationSet:
    """Choose ``count`` images of a folder by group and brightness, and check each.

    The choice depends on the files' contents and their names within the folder alone. Each group (see
    :func:`danet_calibration.images.pictures.find_pictures`) gets its share by the largest remainder, and
    inside it the frames are taken from the quantiles of their mean grey level. Frames that show nearly the
    same as another are never taken, even where ``count`` is then not reached: the coverage says so. In a
    folder with more than ``EXAMINED_FRAMES`` an even sample of each group is examined.

    Args:
        folder: A data set (its training split is taken) or any folder, as ``find_pictures`` says.
        count: Largest number of images, at least 1.
        held_out: Largest number of further frames, from those that are left and show different scenes.
        least: Least number of different frames in the folder, or ``count`` where that is less.
        frame_hw: Size of the bundle's frame; the coverage then counts the images that are resized and
            stretched.
        progress: Called with the number of images done and of all, first while they are examined, then while
            they are checked.

    Raises:
        CalibrationSetError: No images, too few, nearly the same throughout, or images that cannot stand for a
            camera's: of one color, label images, noise.
        DataError: The training split of a data set cannot be read.
        SourceError: An image that cannot be read.
        ValueError: ``count`` or ``held_out`` is out of range.
    """
    if count < 1 or held_out < 0:
        raise ValueError(f"count must be at least 1 and held_out at least 0 (got {count} and {held_out})")
    pictures = find_pictures(folder)
    examined = presample(pictures.groups, max(EXAMINED_FRAMES, 2 * (count + held_out)))
    fingerprints = dict(
        zip(examined, fingerprints_of([pictures.folder / name for name in examined], progress), strict=True)
    )
    distinct = [examined[position] for position in distinct_frames(list(fingerprints.values()))]
    choice = _Choice(pictures, fingerprints, frozenset(distinct))
    chosen, apart = choice.take(count, held_out)
    sizes = check_frames([pictures.folder / candidate.name for candidate in (*chosen, *apart)], progress)
    _require_enough(pictures, examined, distinct, min(least, count))
    rest = choice.set_of(apart, sizes[len(chosen) :], frame_hw) if apart else None
    return choice.set_of(chosen, sizes[: len(chosen)], frame_hw, rest)


def manifest_frames(images: CalibrationSet) -> tuple[tuple[str, str], ...]:
    """Return the path below the folder and the SHA-256 of every frame, in order, for the manifest.

    A name that is not Unicode is escaped, because JSON cannot hold it.
    """
    names = (file.relative_to(images.folder).as_posix() for file in images.files)
    escaped = (name.encode("utf-8", "backslashreplace").decode() for name in names)
    return tuple(zip(escaped, images.hashes, strict=True))


@dataclass(frozen=True)
class _Choice:
    """The frames of a folder, ready for choosing."""

    pictures: Pictures
    fingerprints: dict[str, Fingerprint]
    distinct: frozenset[str]

    def take(self, count: int, held_out: int) -> tuple[list[Candidate], list[Candidate]]:
        """Return the frames of the set and the held-out ones."""
        groups = self.pictures.groups
        candidates = [
            Candidate(name, groups[name], fingerprint.luma) for name, fingerprint in self.fingerprints.items()
        ]
        differing = [candidate for candidate in candidates if candidate.name in self.distinct]
        weights = self._weights()
        chosen = select(differing, count, weights)
        taken = set(chosen)
        apart = select([candidate for candidate in differing if candidate not in taken], held_out, weights)
        return chosen, apart

    def set_of(
        self,
        chosen: Sequence[Candidate],
        sizes: Sequence[tuple[int, int]],
        frame_hw: tuple[int, int] | None,
        held_out: CalibrationSet | None = None,
    ) -> CalibrationSet:
        files = tuple(self.pictures.folder / candidate.name for candidate in chosen)
        hashes = tuple(hashlib.sha256(_read(file)).hexdigest() for file in files)
        used = [
            UsedFrame(candidate.group, candidate.luma, size_hw)
            for candidate, size_hw in zip(chosen, sizes, strict=True)
        ]
        found = Counter(self.pictures.groups.values())
        lumas = [fingerprint.luma for fingerprint in self.fingerprints.values()]
        return CalibrationSet(
            folder=self.pictures.folder,
            files=files,
            found=len(self.pictures.groups),
            sha256=hashlib.sha256(b"".join(map(bytes.fromhex, hashes))).hexdigest(),
            hashes=hashes,
            coverage=describe_set(
                found,
                lumas,
                len(self.distinct),
                used,
                frame_hw,
                summed(self.pictures.left_out) if self.pictures.left_out else None,
            ),
            held_out=held_out,
        )

    def _weights(self) -> dict[str, Fraction]:
        """Return the weight of each group: its number of frames, less the share of near-duplicates."""
        groups = self.pictures.groups
        found = Counter(groups.values())
        examined = Counter(groups[name] for name in self.fingerprints)
        distinct = Counter(groups[name] for name in self.distinct)
        return {group: Fraction(found[group] * distinct[group], examined[group]) for group in examined}


def _require_enough(pictures: Pictures, examined: Sequence[str], distinct: Sequence[str], least: int) -> None:
    found = len(pictures.groups)
    if found < least:
        raise CalibrationSetError(
            f"{pictures.folder} holds {found} {'image' if found == 1 else 'images'}; scales from fewer "
            f"than {least} fit those frames and no others: give more frames of the camera"
        )
    if len(distinct) < least:
        kept = set(distinct)
        repeated = [pictures.folder / name for name in examined if name not in kept]
        raise CalibrationSetError(
            f"{len(repeated)} of {len(examined)} images in {pictures.folder} show nearly the same as another "
            f"({names_of(repeated)}); {len(distinct)} that differ are left, {least} are needed: give frames "
            "from different places and times"
        )


def _read_chosen(file: Path, sha256: str) -> UInt8Array:
    data = _read(file)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CalibrationSetError(
            f"{file} has changed since it was chosen for the calibration; calibrate again when nothing "
            "writes to its folder"
        )
    return decode(data, str(file), cv2.IMREAD_COLOR)


def _read(file: Path) -> bytes:
    try:
        return read_picture_bytes(file)
    except SourceError as error:
        raise CalibrationSetError(
            f"{file} was chosen for the calibration and cannot be read any more ({error}); "
            "put it back, or calibrate again on the images that are there"
        ) from error


def _resized(image: UInt8Array, size_hw: tuple[int, int]) -> UInt8Array:
    if image.shape[:2] == size_hw:
        return image
    return np.asarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
