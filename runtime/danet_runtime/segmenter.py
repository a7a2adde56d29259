"""One frame in, its labels out: a bundle, a backend and the way between frame sizes."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, get_args

import numpy as np

from danet_runtime.backends import open_backend
from danet_runtime.backends.base import Backend, UInt8Array
from danet_runtime.bundle.manifest import Precision, SegmentationClass
from danet_runtime.bundle.reader import Bundle
from danet_runtime.dependencies import opencv
from danet_runtime.errors import BackendError, FrameError

logger = logging.getLogger(__name__)


class InferenceTimes(NamedTuple):
    """Where the time of one frame went, in nanoseconds."""

    preprocess_ns: int
    inference_ns: int
    postprocess_ns: int


class Segmenter:
    """Labels frames with one variant of a bundle.

    Use from one thread at a time: the buffers for resizing are its own. A frame that has the bundle's frame
    size goes to the backend without a copy; another size is resized on the host (bilinear, needs OpenCV) and
    its labels are brought back to its own size by nearest neighbour.

    Args:
        bundle: An open bundle, or the path of one.
        precision: Which variant. By default the most precise one that the bundle holds (fp32, then fp16, then
            int8); what was chosen stands in :attr:`precision` and in the log.
        backend: Name of a backend (see :data:`danet_runtime.backends.BACKENDS`), or one that is open already,
            which the segmenter then owns.
        threads: CPU threads of one inference, for a backend given by name.

    Raises:
        BundleError: The bundle cannot be read, or its model file is not the one that was written.
        UsageError: The bundle does not hold the precision, or no backend has that name.
        BackendError: The backend cannot load the model.
        MissingDependencyError: The backend's package is not installed.

    Attributes:
        bundle: The bundle.
        precision: The variant in use.
        backend: The backend in use.
        frame_size_hw: Height and width that the model takes without a resize.
        classes: The classes; a label is a position in this list, 255 means none.
        palette: (256, 3) uint8 BGR, one colour a label, black where there is no class; read-only.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        precision: Precision | None = None,
        backend: str | Backend = "onnxruntime",
        *,
        threads: int | None = None,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        manifest = self.bundle.manifest
        self.precision: Precision = precision or _most_precise(self.bundle)
        self.frame_size_hw: tuple[int, int] = manifest.frame.size_hw
        self.classes: tuple[SegmentationClass, ...] = manifest.classes
        self.palette = _palette(manifest.classes)
        self._frame = np.empty((1, *self.frame_size_hw, 3), np.uint8)  # (1, H, W, 3) resized frame
        self._labels = np.empty((1, *self.frame_size_hw), np.uint8)  # (1, H, W) before the way back
        self._closed = False
        if isinstance(backend, str):
            self.backend: Backend = open_backend(self.bundle, self.precision, backend, threads=threads)
        else:
            self.backend = backend
        logger.info("%s: %s variant in %s", self.bundle.path, self.precision, self.backend.describe())

    def __call__(self, frame: UInt8Array) -> UInt8Array:
        """Segment one frame into a new array.

        Args:
            frame: (H, W, 3) uint8 BGR of any size; only read.

        Returns:
            Labels (H, W) uint8 of the frame's own size, owned by the caller; 255 where there is no class.

        Raises:
            FrameError: ``frame`` is no such array.
            BackendError: The model failed, or the segmenter is closed.
            MissingDependencyError: The frame must be resized and OpenCV is not installed.
        """
        _check_frame(frame)
        labels = np.empty(frame.shape[:2], np.uint8)
        self.infer_into(np.ascontiguousarray(frame), labels)
        return labels

    def infer_into(self, frame: UInt8Array, labels: UInt8Array) -> InferenceTimes:
        """Segment one frame into the caller's buffer; allocates no array.

        Args:
            frame: (H, W, 3) uint8 BGR, C-contiguous, of any size; only read, and only during the call.
            labels: (H, W) uint8, C-contiguous, of the frame's size, owned by the caller; overwritten.

        Raises:
            FrameError: One of the arrays is not such an array.
            BackendError: The model failed, or the segmenter is closed.
            MissingDependencyError: The frame must be resized and OpenCV is not installed.
        """
        _check_frame(frame)
        _check_contiguous("frame", frame)
        if labels.dtype != np.uint8 or labels.shape != frame.shape[:2]:
            raise FrameError(f"labels must be uint8 {frame.shape[:2]} (got {labels.dtype} {labels.shape})")
        _check_contiguous("labels", labels)
        if self._closed:
            raise BackendError("the segmenter is closed; open another")
        if frame.shape[:2] == self.frame_size_hw:
            started = time.monotonic_ns()
            self.backend.infer(frame[None], labels[None])
            return InferenceTimes(0, time.monotonic_ns() - started, 0)
        return self._infer_resized(frame, labels)

    def _infer_resized(self, frame: UInt8Array, labels: UInt8Array) -> InferenceTimes:
        height, width = self.frame_size_hw
        cv2 = opencv(f"a frame of {frame.shape[0]}x{frame.shape[1]} for a model of {height}x{width}")
        started = time.monotonic_ns()
        cv2.resize(frame, (width, height), dst=self._frame[0], interpolation=cv2.INTER_LINEAR)
        resized = time.monotonic_ns()
        self.backend.infer(self._frame, self._labels)
        inferred = time.monotonic_ns()
        # NEAREST_EXACT aligns pixel centres; plain NEAREST shifts the labels by up to half a source pixel.
        cv2.resize(
            self._labels[0],
            (labels.shape[1], labels.shape[0]),
            dst=labels,
            interpolation=cv2.INTER_NEAREST_EXACT,
        )
        done = time.monotonic_ns()
        return InferenceTimes(resized - started, inferred - resized, done - inferred)

    def close(self) -> None:
        """Release the backend; harmless when called twice."""
        if not self._closed:
            self._closed = True
            self.backend.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _most_precise(bundle: Bundle) -> Precision:
    order: tuple[Precision, ...] = get_args(Precision)  # fp32, fp16, int8
    return next(precision for precision in order if precision in bundle.manifest.variants)


def _palette(classes: tuple[SegmentationClass, ...]) -> UInt8Array:
    palette = np.zeros((256, 3), np.uint8)
    for label, entry in enumerate(classes):
        palette[label] = entry.color[::-1]  # the manifest has RGB
    palette.flags.writeable = False
    return palette


def _check_frame(frame: UInt8Array) -> None:
    if not isinstance(frame, np.ndarray):
        raise FrameError(f"a frame must be a numpy array, uint8 (H, W, 3) BGR (got {type(frame).__name__})")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise FrameError(f"a frame must be uint8 (H, W, 3) BGR (got {frame.dtype} {frame.shape})")


def _check_contiguous(name: str, array: UInt8Array) -> None:
    if not array.flags.c_contiguous:
        raise FrameError(f"{name} must be C-contiguous; copy it with numpy.ascontiguousarray")
