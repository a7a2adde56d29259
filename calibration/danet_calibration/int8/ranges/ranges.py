"""The ranges of a model's activations over the calibration frames, in one pass and bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from danet_calibration.errors import CalibrationError
from danet_calibration.int8.ranges.histograms import MagnitudeHistogram
from danet_calibration.int8.ranges.methods import CalibrationMethod
from danet_calibration.int8.ranges.placement_rules import Frames, PlacedInput, inline
from danet_calibration.int8.ranges.segments import SegmentedModel
from danet_runtime.errors import DanetError
from danet_runtime.frames.arrays import UInt8Array

Histograms = Mapping[str, MagnitudeHistogram]


@dataclass(frozen=True)
class QuantisedInput:
    """One input of one node that runs on INT8 values.

    Attributes:
        node: Name of the node.
        position: Position of the input among the node's inputs.
        scale: Shape () for a whole tensor, (C,) for one scale per channel of axis 0 (weights).
    """

    node: str
    position: int
    scale: npt.NDArray[np.float32]


class Convergence(TypedDict):
    """Relative change of the activations' scales from one number of frames to the next, and to the last."""

    frames: int
    next_frames: int
    median_change: float
    p95_change: float
    worst_change: float
    worst_tensor: str
    median_change_to_last: float
    p95_change_to_last: float


@dataclass(frozen=True)
class Ranges:
    """Histograms of the activations over the calibration frames.

    Attributes:
        placement: The quantised inputs.
        snapshots: Histogram of each activation after a number of frames, by that number; the last is of all
            frames.
    """

    placement: Sequence[PlacedInput]
    snapshots: Mapping[int, Histograms]
    _amax: dict[tuple[CalibrationMethod, int], dict[str, float]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def frames(self) -> int:
        """Number of calibration frames."""
        return max(self.snapshots)

    def inputs(self, method: CalibrationMethod) -> list[QuantisedInput]:
        """Return the quantised inputs with their scales; a tensor has one scale for all its readers.

        Args:
            method: Calibration method of the activations; weights always take their largest magnitude.
        """
        scales = {tensor: _scale(amax) for tensor, amax in self.amax(method).items()}
        return [
            QuantisedInput(
                item.node,
                item.position,
                scales[item.tensor] if item.weight_scale is None else item.weight_scale,
            )
            for item in self.placement
        ]

    def amax(self, method: CalibrationMethod, frames: int | None = None) -> dict[str, float]:
        """Return the magnitude of each activation that becomes the largest INT8 value.

        Args:
            method: Calibration method. Entropy takes up to a second per tensor; results are kept.
            frames: Number of frames, one of ``snapshots``; None for all.
        """
        key = (method, self.frames if frames is None else frames)
        if key not in self._amax:
            histograms = self.snapshots[key[1]]
            self._amax[key] = {tensor: held.amax(method) for tensor, held in histograms.items()}
        return self._amax[key]

    def convergence(self, method: CalibrationMethod) -> list[Convergence]:
        """Return how the activations' scales change from each snapshot to the next, and to the last.

        Returns:
            One entry for each snapshot but the last, as JSON values; empty where there was only one.
        """
        counts = sorted(self.snapshots)
        rows = []
        for count, following in itertools.pairwise(counts):
            changes = _changes(self.amax(method, count), self.amax(method, following))
            to_last = _changes(self.amax(method, count), self.amax(method))
            worst = max(changes, key=lambda tensor: changes[tensor])
            rows.append(
                Convergence(
                    frames=count,
                    next_frames=following,
                    median_change=float(np.median(list(changes.values()))),
                    p95_change=float(np.percentile(list(changes.values()), 95)),
                    worst_change=changes[worst],
                    worst_tensor=worst,
                    median_change_to_last=float(np.median(list(to_last.values()))),
                    p95_change_to_last=float(np.percentile(list(to_last.values()), 95)),
                )
            )
        return rows


def plan_checkpoints(count: int) -> tuple[int, ...]:
    """Return the numbers of frames after which ranges are kept: 32, 64, 128, ... and ``count``, that of all.

    With fewer than 64 frames they are kept after a quarter, a half, and all.
    """
    if count >= 64:
        return (*_doubling(32, count), count)
    return tuple(sorted({max(1, count // 4), max(1, count // 2), count}))


def _doubling(start: int, below: int) -> Iterator[int]:
    while start < below:
        yield start
        start *= 2


def collect_ranges(
    model: bytes,
    frames: Frames,
    placement: Sequence[PlacedInput],
    checkpoints: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048, 4096),
    progress: Callable[[int], None] = lambda _done: None,
) -> Ranges:
    """Run the model over the frames once, and count the magnitudes of each quantised activation.

    Memory does not grow with the number of frames, only by 16 KiB per tensor and checkpoint.

    Args:
        model: The bundle's FP32 file.
        frames: Calibration frames, read from the first on, one in memory at a time.
        placement: The quantised inputs of this model, found by
            :func:`danet_calibration.int8.ranges.placement_rules.find_placement`.
        checkpoints: Numbers of frames after which the ranges are kept, for :meth:`Ranges.convergence`; see
            :func:`plan_checkpoints`. After the last frame they are always kept.
        progress: Called after each frame with the number done.

    Raises:
        CalibrationError: There is no frame, one cannot be read or run, or an activation is not finite.
        DanetError: A frame could not be read; the error of ``frames`` is passed on.
    """
    tensors = list(dict.fromkeys(item.tensor for item in placement if not item.is_weight))
    if not tensors:
        raise CalibrationError("the placement quantises no activation; there is nothing to calibrate")
    runner = SegmentedModel(inline(model), tensors)
    histograms = {tensor: MagnitudeHistogram() for tensor in tensors}
    snapshots: dict[int, Histograms] = {}
    count = 0
    for count, frame in enumerate(_read(frames), 1):
        _add(runner, frame, count, histograms)
        if count in checkpoints:
            snapshots[count] = {tensor: held.copy() for tensor, held in histograms.items()}
        progress(count)
    if not count:
        raise CalibrationError("expected at least one calibration frame, got none")
    snapshots[count] = histograms
    return Ranges(tuple(placement), snapshots)


def _read(frames: Frames) -> Iterator[dict[str, UInt8Array]]:
    frames.rewind()
    done = 0
    while True:
        try:
            frame = frames.get_next()
        except DanetError:
            raise
        except Exception as error:
            raise CalibrationError(f"calibration frame {done + 1} could not be read: {error}") from error
        if frame is None:
            return
        yield frame
        done += 1


def _add(
    runner: SegmentedModel,
    frame: dict[str, UInt8Array],
    number: int,
    histograms: Mapping[str, MagnitudeHistogram],
) -> None:
    tensors = runner.run(frame)
    while True:
        try:
            found = next(tensors, None)
        except Exception as error:  # ONNX Runtime's own, which share no base
            raise CalibrationError(
                f"the model does not run on calibration frame {number}: {error}"
            ) from error
        if found is None:
            return
        name, values = found
        try:
            histograms[name].add(np.asarray(values, np.float32))
        except ValueError as error:
            raise CalibrationError(
                f"the activation {name} is not finite on calibration frame {number} ({error}); "
                "look for broken weights, or take the frame out"
            ) from error


def _scale(amax: float) -> npt.NDArray[np.float32]:
    # Of only zeros any scale is right; 1 is modelopt's.
    smallest = float(np.finfo(np.float32).tiny)
    return np.asarray(amax / 127.0 if amax / 127.0 >= smallest else 1.0, np.float32)


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {
        tensor: abs(before[tensor] - amax) / amax if amax else float(before[tensor] != 0.0)
        for tensor, amax in after.items()
    }
