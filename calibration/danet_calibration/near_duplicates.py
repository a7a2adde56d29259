"""A small look at each frame: how bright it is, and which frames show the same as another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from danet_calibration.errors import CalibrationSetError
from danet_runtime.sources.images import decode_picture

UInt8Array = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

ALIKE_BELOW = 0.04
"""Two frames show the same where their thumbnails differ by less than this part of their contrast.

Measured: of 221 frames of a 9 s drive at 25 a second 13 differ, of 38 of another 20, of 367 of CamVid, mostly
one second apart, 343. Of 60 frames of a standing car (drawn over four real scenes: noise, flicker, traffic, a
shake of one pixel) 1 to 5 differ, so that they fall short of a set."""

ALIKE_BELOW_GREY_LEVELS = 0.75
"""And anyway below so many grey levels, which sensor noise alone makes between frames of a dark scene."""

_MOVING_SHARE = 0.2
"""The part of the thumbnail that differs most is left out: a car that passes a standing camera."""

_THUMBNAIL_HW = (18, 32)
_KEPT = round((1 - _MOVING_SHARE) * _THUMBNAIL_HW[0] * _THUMBNAIL_HW[1])
_REDUCTION = 8
_MOST_THREADS = 4


@dataclass(frozen=True, eq=False)
class Look:
    """What a strongly reduced frame tells.

    Attributes:
        luma: Mean grey level, 0 to 255.
        thumbnail: Grey levels, flat, of ``_THUMBNAIL_HW``.
    """

    luma: float
    thumbnail: npt.NDArray[np.int16]


def look_at(file: Path) -> Look:
    """Read a frame at an eighth of its size, which a JPEG decoder does without decoding the rest.

    Raises:
        SourceError: It cannot be read.
        CalibrationSetError: It is damaged.
    """
    grey = _reduced(file)
    thumbnail = cv2.resize(grey, _THUMBNAIL_HW[::-1], interpolation=cv2.INTER_AREA)
    return Look(float(grey.mean()), thumbnail.astype(np.int16).ravel())


def look_at_all(files: Sequence[Path], progress: Progress | None = None) -> list[Look]:
    """Look at frames on a few threads, and give the looks in the order of the files.

    Args:
        files: The frames.
        progress: Is told after each how many of how many are done.

    Raises:
        SourceError: One cannot be read.
        CalibrationSetError: One is damaged.
    """
    looks = []
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        try:
            for look in pool.map(look_at, files):
                looks.append(look)
                if progress:
                    progress(len(looks), len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return looks


def distinct_frames(looks: Sequence[Look]) -> list[int]:
    """Positions of the frames of which none shows the same as one before it, in order.

    Costs the square of the number of frames that differ: about 2 s for a thousand.
    """
    thumbnails = np.empty((len(looks), _THUMBNAIL_HW[0] * _THUMBNAIL_HW[1]), np.int16)
    contrasts = np.empty(len(looks))
    kept: list[int] = []
    for position, look in enumerate(looks):
        contrast = float(look.thumbnail.std())
        held = len(kept)
        differences = np.partition(np.abs(thumbnails[:held] - look.thumbnail), _KEPT, axis=1)[:, :_KEPT]
        limits = np.maximum(ALIKE_BELOW_GREY_LEVELS, ALIKE_BELOW * (contrasts[:held] + contrast) / 2)
        if (differences.mean(axis=1) >= limits).all():
            thumbnails[held], contrasts[held] = look.thumbnail, contrast
            kept.append(position)
    return kept


def _reduced(file: Path) -> UInt8Array:
    try:
        data = np.frombuffer(file.read_bytes(), np.uint8)
        grey = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8) if data.size else None
    except (OSError, cv2.error):
        grey = None
    if grey is not None:
        return np.asarray(grey, np.uint8)
    try:
        picture = decode_picture(file)  # says what is wrong with it
    except cv2.error as error:
        raise CalibrationSetError(f"{file} is damaged ({error.err}); replace it or take it out") from error
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    height, width = (max(1, side // _REDUCTION) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
