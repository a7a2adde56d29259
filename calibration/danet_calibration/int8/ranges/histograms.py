"""Histograms of an activation's magnitudes in bounded memory, and the clipping of NVIDIA's calibrators.

modelopt's own collector is not fed directly. Its counts are 32-bit: torch.histc stops counting at 2**24
values a bin and thread, which one frame of 1024x2048 exceeds, and their sum is cast to int32, which 512
frames exceed. Its bins keep the width that the first frame gave them, so their number is without bound, and
an all-zero first frame ends it. Here the counts have 64 bits, and their number stays between two bounds.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import torch

from danet_calibration.int8.ranges.methods import CalibrationMethod

BINS = 2048
"""Largest number of bins; there are at least half as many. modelopt's collector begins with this number."""

SMALLEST, LARGEST = 2.0**-100, 2.0**120
"""Limits between which float32 leaves room for bins: lower magnitudes count as 0, higher ones are refused."""

PERCENTILE = 99.99
"""modelopt's default."""

_FEWEST_LEVELS = 128
"""Number of INT8 magnitudes; to clip to fewer bins gains nothing."""

_STEPS = 256
"""Entropy is tried at ranges one 256th of the histogram apart: each costs milliseconds, in a Python loop."""

_CHUNK = 2**22
"""Values counted at once, below the 2**24 up to which float32 counts are exact."""


class MagnitudeHistogram:
    """Counts of |x| over all values that were added.

    Attributes:
        maximum: The largest magnitude so far.
        counts: (bins,) int64, of equal bins from 0 up; zeros are in the first.
        width: Width of a bin; 0 while there were only zeros.
    """

    def __init__(self) -> None:
        self.maximum = 0.0
        self.counts = np.zeros(1, np.int64)
        self.width = 0.0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count more values.

        Args:
            values: Array of any shape; it is not kept.

        Raises:
            ValueError: A value is not finite, or beyond :data:`LARGEST`.
        """
        flat = torch.from_numpy(np.ascontiguousarray(values)).reshape(-1)
        if flat.numel() == 0:
            return
        low, high = (float(bound) for bound in torch.aminmax(flat))
        largest = max(-low, high)
        if not largest <= LARGEST:  # aminmax passes NaN on
            raise ValueError(f"expected magnitudes up to {LARGEST:.0e}, got values from {low} to {high}")
        self.maximum = max(self.maximum, largest)
        self._cover(largest)
        if self.width == 0.0:
            self.counts[0] += flat.numel()
            return
        for chunk in torch.split(flat, _CHUNK):
            self._count(chunk.abs() if low < 0 else chunk)

    def copy(self) -> MagnitudeHistogram:
        """Return a copy of the histogram."""
        other = MagnitudeHistogram()
        other.maximum, other.counts, other.width = self.maximum, self.counts.copy(), self.width
        return other

    def amax(self, method: CalibrationMethod) -> float:
        """Return the magnitude that becomes the largest INT8 value; 0 where all values were 0.

        Args:
            method: ``max`` clips nothing and ``percentile`` the largest 0.01 %; ``entropy`` clips so that the
                distribution changes least, ``mse`` so that the values change least.
        """
        if method == "max" or self.width == 0.0:
            return self.maximum
        edges = np.arange(self.counts.size + 1, dtype=np.float64) * np.float64(self.width)
        amax = (
            _amax_mse(self.counts, edges) if method == "mse" else _amax_modelopt(self.counts, edges, method)
        )
        return min(amax, self.maximum)

    def _cover(self, largest: float) -> None:
        """Extend the bins to ``largest``; where there are too many, make them twice as wide."""
        if self.width == 0.0:
            if largest < SMALLEST:
                return
            zeros = self.counts[0]
            self.width = largest / BINS
            self.counts = np.zeros(BINS, np.int64)
            self.counts[0] = zeros
            return
        while largest > self.width * BINS:
            padded = np.pad(self.counts, (0, self.counts.size % 2))
            self.counts = padded.reshape(-1, 2).sum(axis=1)
            self.width *= 2.0
        needed = math.ceil(largest / self.width)
        if needed > self.counts.size:
            self.counts = np.pad(self.counts, (0, needed - self.counts.size))

    def _count(self, magnitudes: torch.Tensor) -> None:
        # histc leaves out what is beyond its range, which float32 may round to just below the largest value.
        upper = np.nextafter(np.float32(self.counts.size * self.width), np.float32(np.inf))
        counts = torch.histc(magnitudes, bins=self.counts.size, min=0.0, max=float(upper))
        self.counts += counts.numpy().astype(np.int64)


def _amax_modelopt(
    counts: npt.NDArray[np.int64], edges: npt.NDArray[np.float64], method: CalibrationMethod
) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside its import
        from modelopt.torch.quantization.calib import HistogramCalibrator

    calibrator = HistogramCalibrator(num_bits=8, axis=None, unsigned=False)
    # A copy: its entropy overwrites the first bin of what it is given. NumPy arrays are not cast to int32.
    calibrator._calib_hist, calibrator._calib_bin_edges = counts.copy(), edges
    if method == "percentile":
        return float(calibrator.compute_amax("percentile", percentile=PERCENTILE))
    return float(
        calibrator.compute_amax("entropy", stride=max(1, counts.size // _STEPS), start_bin=_FEWEST_LEVELS)
    )


def _amax_mse(counts: npt.NDArray[np.int64], edges: npt.NDArray[np.float64]) -> float:
    """Return the bin's centre that has the least mean square error as the largest value.

    It is what modelopt's calibrator defines. modelopt 0.47 itself passes the number of bits where its
    rounding takes a bias, and rounds to other values: it clips a normal distribution at 0.3 sigma.
    """
    centres = (edges[1:] + edges[:-1]) / 2.0
    candidates = centres[_FEWEST_LEVELS:]
    errors = [
        float(
            np.square(np.rint(np.minimum(centres, amax) * (127.0 / amax)) * (amax / 127.0) - centres) @ counts
        )
        for amax in candidates
    ]
    return float(candidates[int(np.argmin(errors))])
