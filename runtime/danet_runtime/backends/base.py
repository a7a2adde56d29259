"""The interface of every backend: it runs one engine of one bundle on uint8 frames and gives uint8 labels."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.device_arrays import DeviceArray, DeviceLabels
from danet_runtime.timing import DeviceTimes


@runtime_checkable
class Backend(Protocol):
    """One loaded model.

    Attributes:
        name: ``onnxruntime``, ``tensorrt``, ...
    """

    name: str

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        """Segment one frame.

        Args:
            frame: (1, H, W, 3) BGR, or (1, H * 3 / 2, W) or (1, H, W, 2) of a bundle for nv12 or uyvy;
                C-contiguous, of the bundle's frame size; only read, during the call.
            labels: (1, H, W), C-contiguous, owned by the caller; overwritten.

        Raises:
            BackendError: The model failed.
        """

    def describe(self) -> dict[str, Any]:
        """Describe the loaded model and how it runs (library version, precision, threads), for reports."""

    def close(self) -> None:
        """Release the model; harmless when called twice."""


@runtime_checkable
class PipelinedBackend(Backend, Protocol):
    """A backend that takes the next frame while one is under way, as where copies and inference overlap.

    One thread submits and another one may collect at the same time; results are collected in the order of
    their submission. A stream uses this where it is offered, and ``infer`` for the golden frame.

    Attributes:
        depth: Most frames that may be in flight; with 1 nothing overlaps.
    """

    depth: int

    def submit(self, frame: UInt8Array, labels: UInt8Array) -> int:
        """Begin with a frame; does not wait for it.

        Args:
            frame: As for ``infer``; the caller must not change it until the result is collected.
            labels: As for ``infer``; may be written at any time until the result is collected.

        Returns:
            A ticket to collect with.

        Raises:
            BackendError: It was not taken; nothing is in flight of it.
            FaultError: This process cannot go on; everything in flight is lost.
        """

    def collect(self, ticket: int) -> DeviceTimes:
        """Wait for a frame's labels.

        Args:
            ticket: Ticket that ``submit`` returned; it is free again afterwards, even after an error.

        Raises:
            BackendError: The model failed with this frame.
            FaultError: This process cannot go on.
        """


@runtime_checkable
class PinningBackend(Backend, Protocol):
    """A backend that copies to and from buffers that it knows without a further copy on the host."""

    def pin(self, *buffers: UInt8Array) -> None:
        """Prepare buffers that will be used again and again; each has pages of its own.

        Raises:
            FaultError: This process cannot go on.
        """

    def unpin(self, *buffers: UInt8Array) -> None:
        """Let go of buffers that nothing is under way with; nothing for those that it does not know.

        Raises:
            FaultError: This process cannot go on.
        """


@runtime_checkable
class DeviceBackend(PipelinedBackend, Protocol):
    """A backend on a GPU: frames may be there already, and labels may stay there.

    An array on the GPU is of the bundle's own layout and size and may leave the first axis out. Work that its
    library has enqueued with it, as far as the array tells, is waited for on the GPU; when ``infer`` or
    ``collect`` returns, labels are complete. The calling thread keeps its CUDA context.
    """

    def make_labels(self) -> DeviceLabels:
        """Memory on the GPU for the labels of one frame.

        Raises:
            FrameError: The calling thread works in another CUDA context, where they could not be read.
            BackendError: There is not enough memory.
            FaultError: This process cannot go on.
        """

    def infer(self, frame: UInt8Array | DeviceArray, labels: UInt8Array | DeviceArray) -> None:
        """See :class:`Backend`.

        Raises:
            FrameError: An array on the GPU does not fit.
            BackendError: The model failed.
        """

    def submit(self, frame: UInt8Array | DeviceArray, labels: UInt8Array | DeviceArray) -> int:
        """See :class:`PipelinedBackend`.

        Raises:
            FrameError: An array on the GPU does not fit.
            BackendError: It was not taken; nothing is in flight of it.
            FaultError: This process cannot go on; everything in flight is lost.
        """
