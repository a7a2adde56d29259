"""Checks for frames that show no scene: a single color, ramps, label images, noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.near_duplicates import Progress
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.reading import decode_picture

CONSTANT_BELOW = 2.0
"""Standard deviation, in grey levels, below which an image shows nothing: a covered lens, a black frame."""

LABEL_VALUES = 64
"""A grey picture with no more values is a label image: a photograph has more, labels have one a class
(Cityscapes: 34)."""

NOISE_BELOW = 0.5
"""An image is noise where the correlation of neighbouring pixels is below this, at its full size and reduced.

Noise has about 0 at both, photographs by day 0.85 and more. The reduced size keeps night frames: the noise of
their sensor can outweigh the scene between pixels, and averages out. The full size keeps fine textures.

Blurred noise correlates at its full size: with a sigma of 1 to 6 pixels 0.78 to 0.99, and reduced by 16 at
most 0.34; CamVid, Cityscapes and drawn scenes have at least 0.72 there. The contrast that is left after a
reduction by 8 distinguishes it from a texture."""

BLURRED_KEEPS = 0.2
"""Blurred noise keeps more than this part of its contrast when it is reduced; a fine texture averages out."""

RAMP_BELOW = 0.02
"""An image is a ramp where a plane leaves less than this part of the variance of its grey levels."""

_REDUCTION = 8
_LEAST_REDUCED_SIDE = 16
_NAMED = 3
"""Number of files that an error names."""


def check_frames(files: Sequence[Path], progress: Progress | None = None) -> list[tuple[int, int]]:
    """Decode each frame and refuse those that show no scene.

    Args:
        files: The frames; one is in memory at a time.
        progress: Called after each frame with the number done and the number of all.

    Returns:
        Height and width of each frame.

    Raises:
        CalibrationSetError: Frames of one color, ramps, label images, or noise, by name.
        SourceError: A file that is missing, no picture, damaged, cut off or too large.
    """
    sizes: list[tuple[int, int]] = []
    constant, labels, noise, ramps = list[Path](), list[Path](), list[Path](), list[Path]()
    for file in files:
        picture = decode_picture(file)
        sizes.append((picture.shape[0], picture.shape[1]))
        if picture.std() < CONSTANT_BELOW:
            constant.append(file)
        elif _is_label_image(picture):
            labels.append(file)
        elif is_noise(picture):
            noise.append(file)
        elif is_ramp(picture):
            ramps.append(file)
        if progress:
            progress(len(sizes), len(files))
    of = len(files)
    if labels:
        raise CalibrationSetError(
            f"{len(labels)} of {of} images are label images (grey, with at most {LABEL_VALUES} values): "
            f"{names_of(labels)}; take them out, or give the camera's frames"
        )
    if constant:
        raise CalibrationSetError(
            f"{len(constant)} of {of} images show nothing but one color: {names_of(constant)}; scales from "
            "such frames are too small: take them out, or give real frames of the camera"
        )
    if ramps:
        raise CalibrationSetError(
            f"{len(ramps)} of {of} images show nothing but an even shading: {names_of(ramps)}; their ranges "
            "are no scene's: take them out, or give the camera's frames"
        )
    if noise:
        raise CalibrationSetError(
            f"{len(noise)} of {of} images show noise, neighbouring pixels without anything in common: "
            f"{names_of(noise)}; their ranges are no scene's: take them out, or give the camera's frames"
        )
    return sizes


def is_noise(picture: UInt8Array) -> bool:
    """Whether a picture is noise, sharp or blurred: close pixels are not correlated.

    Args:
        picture: (H, W, 3) uint8 BGR.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    reduced = _reduced(grey, _REDUCTION)
    if neighbour_correlation(grey) < NOISE_BELOW:
        return neighbour_correlation(reduced) < NOISE_BELOW
    if reduced.std() < BLURRED_KEEPS * grey.std():
        return False
    return min(neighbour_correlation(one) for one in (reduced, _reduced(grey, 2 * _REDUCTION))) < NOISE_BELOW


def is_ramp(picture: UInt8Array) -> bool:
    """Whether a picture is nothing but an even shading in one direction.

    Args:
        picture: (H, W, 3) uint8 BGR.
    """
    grey = _reduced(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), _REDUCTION).astype(np.float64)
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]].reshape(2, -1)
    plane = np.stack([rows, columns, np.ones(grey.size)], axis=1)
    values = grey.ravel()
    left = values - plane @ np.linalg.lstsq(plane, values, rcond=None)[0]
    return bool(left.var() < RAMP_BELOW * values.var())


def _reduced(grey: npt.NDArray[np.generic], factor: int) -> npt.NDArray[np.float32]:
    factor = max(1, min(factor, min(grey.shape) // _LEAST_REDUCED_SIDE))
    size = (grey.shape[1] // factor, grey.shape[0] // factor)
    return np.asarray(cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def neighbour_correlation(grey: npt.NDArray[np.generic]) -> float:
    """Return the correlation of each pixel with the next, down or to the right, whichever is stronger.

    Args:
        grey: (H, W), any real type.

    Returns:
        0 (nothing in common) to 1. A picture without pairs of different pixels has 1.
    """
    values = grey.astype(np.float32)
    pairs = ((values[:, 1:], values[:, :-1]), (values[1:], values[:-1]))
    return max((_correlation(one, other) for one, other in pairs if one.size), default=1.0)


def names_of(files: Sequence[Path]) -> str:
    """Return the names of the first few files, for an error."""
    return ", ".join(str(file) for file in files[:_NAMED]) + (", ..." if len(files) > _NAMED else "")


def _correlation(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.mean(one * one, dtype=np.float64) * np.mean(other * other, dtype=np.float64)))
    return abs(float(np.mean(one * other, dtype=np.float64))) / scale if scale else 1.0


def _is_label_image(picture: UInt8Array) -> bool:
    blue, green, red = (picture[..., channel] for channel in range(3))
    grey = np.array_equal(blue, green) and np.array_equal(blue, red)
    return grey and len(np.unique(blue)) <= LABEL_VALUES
