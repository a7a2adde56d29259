"""One frame in, its labels out: a bundle, a backend and the way between frame sizes."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, get_args, overload

import numpy as np

from danet_runtime.backends import open_backend
from danet_runtime.backends.base import Backend, DeviceBackend, PinningBackend, PipelinedBackend
from danet_runtime.backends.registry import gpu_backend_names
from danet_runtime.bundle.manifest import Precision, SegmentationClass
from danet_runtime.bundle.reader import Bundle
from danet_runtime.clock import now_ns
from danet_runtime.errors import BackendError, FrameError, UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.device_arrays import DeviceLabels
from danet_runtime.frames.fitting import FrameFitting, NativeBuffers
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.inference.frame_rules import Array, FrameRules, batched
from danet_runtime.inference.images import Image, Images, taken
from danet_runtime.inference.submission import Collected, InferenceTimes, Submission
from danet_runtime.inference.turn import Turn
from danet_runtime.results.palettes import palette_of
from danet_runtime.results.result import Labelling, Result, read_only

logger = logging.getLogger(__name__)


CLOSE_GRACE_S: Final = 2.0
"""Longest wait for an inference that is under way when the segmenter is closed, in seconds."""


class Segmenter:
    """Labels frames with one variant of a bundle.

    Any thread may call it: calls wait for each other, since buffers and model are one. A frame of the
    bundle's own layout and size (:attr:`frame_shape`) goes to the backend without a copy. A BGR frame of
    another size is resized on the host (bilinear, needs OpenCV) and its labels are brought back to its own
    size by nearest neighbour; for a bundle that takes nv12 or uyvy it is converted on the host as well, and
    the log says so once.

    On a backend on the GPU a frame may be there already, as may be the caller's labels: pycuda's GPUArray, an
    array of CuPy, a tensor of PyTorch, anything with ``__cuda_array_interface__`` or DLPack, of the bundle's
    own layout and size. Whatever its library has enqueued with it is waited for on the GPU, as far as the
    array tells; the calling thread keeps its CUDA context. See docs/gpu_arrays.md.

    Args:
        bundle: An open bundle, or the path of one.
        precision: Variant of the bundle to run. By default the most precise one that it holds (fp32, then
            fp16, then int8); the choice stands in :attr:`precision` and in the log.
        backend: Name of a backend (see :func:`danet_runtime.backends.registry.backends`), or one that is open
            already, which the segmenter then owns.
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
        pixels: The bundle's pixel format; see :mod:`danet_runtime.frames.pixel_formats`.
        frame_shape: Shape of a frame in that format and size, e.g. (H, W, 3).
        classes: The classes; a label is a position in this list, 255 means none.
        palette: (256, 3) uint8 BGR, one color a label, black where there is no class; read-only.
        labelling: How its results are labelled: the model, its classes and its size.
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
        self.precision: Precision = precision or most_precise(self.bundle)
        self.frame_size_hw: tuple[int, int] = manifest.frame.size_hw
        self.pixels: Pixels = manifest.frame.pixels
        self.frame_shape: tuple[int, ...] = manifest.frame.shape
        self.classes: tuple[SegmentationClass, ...] = manifest.classes
        self.palette = palette_of(manifest.classes)
        self._fitting = FrameFitting(self.frame_size_hw, self.pixels)
        self._spare: list[NativeBuffers] = []  # one for each frame under way that is not the model's own
        self._closed = False
        self._turn = Turn()
        if isinstance(backend, str):
            self.backend: Backend = open_backend(self.bundle, self.precision, backend, threads=threads)
        else:
            self.backend = backend
        self._pipeline = self.backend if isinstance(self.backend, PipelinedBackend) else None
        self._on_device = self.backend if isinstance(self.backend, DeviceBackend) else None
        self._rules = FrameRules(self.frame_size_hw, self.pixels, self.backend)
        self.labelling = Labelling(self.classes, f"{self.backend.name}:{self.precision}", self.frame_size_hw)
        logger.info("%s: %s variant in %s", self.bundle.path, self.precision, self.backend.describe())

    @overload
    def __call__(self, image: Image) -> Result: ...
    @overload
    def __call__(self, image: Images) -> list[Result]: ...
    def __call__(self, image: Image | Images) -> Result | list[Result]:
        """Segment a picture, or each of several.

        Args:
            image: An array, uint8 (H, W, 3) BGR of any size or of :attr:`frame_shape`; the path of a picture
                (EXIF is obeyed); a picture of Pillow, of any mode; or a list or tuple of these. Only read.

        Returns:
            The result, whose arrays are read-only and its own; of a list or tuple one for each.

        Raises:
            FrameError: ``image`` is none of these; labels of an array on the GPU come from :meth:`labels_of`.
            SourceError: The file is not there, or no picture.
            BackendError: The model failed, or the segmenter is closed.
            MissingDependencyError: The frame must be read, resized or converted and OpenCV is not installed.
        """
        if isinstance(image, (list, tuple)):
            return [self._result_of(one, number) for number, one in enumerate(image)]
        return self._result_of(image, 0)

    def _result_of(self, image: Image, number: int) -> Result:
        started_ns = now_ns()
        frame, name = taken(image)
        if not isinstance(frame, np.ndarray):
            self.size_of(frame)
            raise FrameError("a result has its frame on the host; for a frame on the GPU call labels_of")
        labels = np.empty(self.size_of(frame), np.uint8)
        captured_ns = now_ns()
        times = self.infer_into(frame, labels)
        stages = {"capture": captured_ns - started_ns, **times.by_stage()}
        return Result(
            frame=read_only(frame),
            labels=read_only(labels),
            frame_id=number,
            capture_time_ns=started_ns,
            age_ms=(now_ns() - started_ns) / 1e6,
            stages_ms={stage: ns / 1e6 for stage, ns in stages.items()},
            name=name,
            pixels=self.pixels if frame.shape == self.frame_shape else BGR,
            labelling=self.labelling,
        )

    @overload
    def labels_of(self, frame: Array, *, on_device: Literal[False] = ...) -> UInt8Array: ...
    @overload
    def labels_of(self, frame: Array, *, on_device: Literal[True]) -> DeviceLabels: ...
    def labels_of(self, frame: Array, *, on_device: bool = False) -> UInt8Array | DeviceLabels:
        """Segment one frame into a new array: the labels alone.

        Args:
            frame: uint8 of :attr:`frame_shape`, or (H, W, 3) BGR of any size; only read. On the GPU of
                :attr:`frame_shape`.
            on_device: Leave the labels on the GPU; for frames of :attr:`frame_shape`.

        Returns:
            Labels (H, W) uint8 of the frame's own size, owned by the caller; 255 where there is no class. On
            the GPU (1, H, W), complete, in memory of their own until nobody refers to them.

        Raises:
            FrameError: ``frame`` is no such array; or labels on the GPU could not be read where the caller
                works, in a CUDA context of its own.
            BackendError: The model failed, or the segmenter is closed.
            UsageError: ``on_device`` where the backend is not on a GPU.
            MissingDependencyError: The frame must be resized or converted and OpenCV is not installed.
        """
        if isinstance(frame, np.ndarray):
            frame = np.ascontiguousarray(frame)
        labels = self._make_device_labels() if on_device else np.empty(self.size_of(frame), np.uint8)
        self.infer_into(frame, labels)
        return labels

    def infer_into(self, frame: Array, labels: Array) -> InferenceTimes:
        """Segment one frame into the caller's buffer; allocates no array.

        Args:
            frame: uint8 of :attr:`frame_shape`, or (H, W, 3) BGR of any size; C-contiguous, only read, and
                only during the call. On the GPU of :attr:`frame_shape`.
            labels: (H, W) uint8, C-contiguous, of the frame's size, owned by the caller; overwritten. Of a
                memory of its own: none of the frame's. On the GPU for a frame of :attr:`frame_shape`, in any
                CUDA context; complete when this returns.

        Raises:
            FrameError: One of the arrays is not such an array, or the labels are read-only.
            BackendError: The model failed, the segmenter is closed, or a handler of a signal calls that came
                while its thread was inside.
            MissingDependencyError: The frame must be resized or converted and OpenCV is not installed.
        """
        frame, labels = self._rules.check(frame, labels)
        try:
            with self._turn:
                self._raise_if_closed()
                return self._infer(frame, labels)
        finally:
            self._close_if_asked()

    def _infer(self, frame: Array, labels: Array) -> InferenceTimes:
        started = time.monotonic_ns()
        to_fit = self._rules.to_fit(frame, labels)
        if to_fit is None:
            self.backend.infer(batched(frame), batched(labels))
            return InferenceTimes(0, time.monotonic_ns() - started, 0)
        given, wanted = to_fit
        native = self._take_spare()
        try:
            self._fitting.fit(given, native.frame)
            prepared = time.monotonic_ns()
            has_model_size = wanted.shape == self.frame_size_hw
            self.backend.infer(native.frame[None], (wanted if has_model_size else native.labels)[None])
            inferred = time.monotonic_ns()
            return InferenceTimes(
                prepared - started, inferred - prepared, self._bring_back(native, wanted, inferred)
            )
        finally:
            self._spare.append(native)

    @property
    def depth(self) -> int:
        """Most frames that may be in flight at a time (:meth:`submit`); 1: the backend offers no overlap."""
        return self._pipeline.depth if self._pipeline is not None else 1

    def submit(self, frame: Array, labels: Array) -> Submission:
        """Begin with a frame where the backend overlaps (:attr:`depth` above 1); does not wait for it.

        Another thread may :meth:`collect` at the same time, in the same order. No more than :attr:`depth`
        frames may be under way, whoever submits.

        Args:
            frame: As for :meth:`infer_into`; the caller must not change it until the result is collected.
            labels: As for :meth:`infer_into`; may be written at any time until the result is collected.

        Raises:
            FrameError: One of the arrays is not such an array, or the labels are read-only.
            BackendError: The backend did not take it, offers no overlap, or the segmenter is closed.
            MissingDependencyError: The frame must be resized or converted and OpenCV is not installed.
        """
        frame, labels = self._rules.check(frame, labels)
        try:
            with self._turn:
                return self._submit(self._pipelined(), frame, labels)
        finally:
            self._close_if_asked()

    def _submit(self, backend: PipelinedBackend, frame: Array, labels: Array) -> Submission:
        started = time.monotonic_ns()
        to_fit = self._rules.to_fit(frame, labels)
        if to_fit is None:
            return Submission(backend.submit(batched(frame), batched(labels)), labels, None, started, 0)
        given, wanted = to_fit
        native = self._take_spare()
        try:
            self._fitting.fit(given, native.frame)
            submitted = time.monotonic_ns()
            target = wanted if wanted.shape == self.frame_size_hw else native.labels
            ticket = backend.submit(native.frame[None], target[None])
        except BaseException:
            self._spare.append(native)
            raise
        return Submission(ticket, wanted, native, submitted, submitted - started)

    def collect(self, submission: Submission) -> Collected:
        """Wait for a frame's labels.

        Args:
            submission: Returned by :meth:`submit`; it cannot be collected again, even after an error.

        Returns:
            Times of this frame; the inference is from its submission until now, also where it waited for the
            one before.

        Raises:
            BackendError: The model failed, or the segmenter is closed.
        """
        native, labels = submission.native, submission.labels
        try:
            device = self._pipelined().collect(submission.ticket)
            inferred = time.monotonic_ns()
            postprocess_ns = 0
            if native is not None and isinstance(labels, np.ndarray):
                postprocess_ns = self._bring_back(native, labels, inferred)
        finally:
            if native is not None:
                self._spare.append(native)
        times = InferenceTimes(submission.preprocess_ns, inferred - submission.submitted_ns, postprocess_ns)
        return Collected(times, device)

    def pin(self, frame: UInt8Array, labels: UInt8Array) -> None:
        """Prepare buffers that will be used again and again, where that spares the backend a copy.

        Args:
            frame: As for :meth:`infer_into`; its memory begins and ends with a page of its own.
            labels: As for :meth:`infer_into`; its memory, too, begins and ends with a page of its own.

        Raises:
            FaultError: The GPU is lost.
        """
        if isinstance(self.backend, PinningBackend) and frame.shape == self.frame_shape:
            self.backend.pin(frame, labels)

    def unpin(self, frame: UInt8Array, labels: UInt8Array) -> None:
        """Let go of buffers that :meth:`pin` prepared; nothing may be under way with them.

        Raises:
            FaultError: The GPU is lost.
        """
        if isinstance(self.backend, PinningBackend):
            self.backend.unpin(frame, labels)

    def _pipelined(self) -> PipelinedBackend:
        self._raise_if_closed()
        if self._pipeline is None:
            raise BackendError(f"{self.backend.name} takes one frame after the other; use infer_into")
        return self._pipeline

    def size_of(self, frame: Array) -> tuple[int, int]:
        """Height and width of a frame that this segmenter takes, and of its labels.

        Args:
            frame: As for :meth:`infer_into`.

        Raises:
            FrameError: It is no such array; the message names those that are.
        """
        return self._rules.size_of(frame)

    def _make_device_labels(self) -> DeviceLabels:
        self._raise_if_closed()
        if self._on_device is None:
            raise UsageError(
                f"labels stay on the GPU where the backend is there, and {self.backend.name} gives them on "
                f"the host; choose the backend {gpu_backend_names()}, or leave on_device out"
            )
        return self._on_device.make_labels()

    def _take_spare(self) -> NativeBuffers:
        return self._spare.pop() if self._spare else self._make_native()

    def _make_native(self) -> NativeBuffers:
        made = self._fitting.make_buffers()
        self.pin(*made)
        return made

    def _bring_back(self, native: NativeBuffers, labels: UInt8Array, inferred_ns: int) -> int:
        """Bring labels to the frame's own size where that is another; the nanoseconds that it took."""
        if labels.shape == self.frame_size_hw:
            return 0
        self._fitting.bring_back(native.labels, labels)
        return time.monotonic_ns() - inferred_ns

    def close(self) -> None:
        """Release the backend; harmless when called twice, and from any thread.

        An inference that is under way is waited for, for at most two seconds: the thread that is in it
        releases the backend where it comes back later.
        """
        if self._closed:
            return
        self._closed = True
        if self._turn.begin(CLOSE_GRACE_S):
            try:
                self.backend.close()
            finally:
                self._turn.end()
        else:
            logger.warning("an inference is under way; the backend is closed when it has come back")

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise BackendError("the segmenter is closed; open another")

    def _close_if_asked(self) -> None:
        if self._closed and self._turn.begin(0):
            try:
                self.backend.close()
            finally:
                self._turn.end()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def most_precise(bundle: Bundle) -> Precision:
    """The most precise variant of a bundle: fp32, then fp16, then int8."""
    order: tuple[Precision, ...] = get_args(Precision)
    return next(precision for precision in order if precision in bundle.manifest.variants)
