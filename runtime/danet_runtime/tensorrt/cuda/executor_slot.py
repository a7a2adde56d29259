"""One frame's memory on both sides, the events between its stages, and its graph where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.cuda.device_arrays import DeviceMemory
from danet_runtime.tensorrt.cuda.session import CudaSession, PinnedMemory
from danet_runtime.timing import DeviceTimes

Enqueue = Callable[[int], None]
"""Enqueues one inference, between fixed addresses, on the stream of a handle; nothing is waited for."""


class Bind(Protocol):
    """Makes a model ready to run between the addresses of one slot; called once a slot.

    Enqueues of different slots stand in one stream, so what a model needs besides its inputs and outputs may
    be shared between them. The enqueue that is returned is called from one thread at a time.
    """

    def __call__(self, inputs: dict[str, int], outputs: dict[str, int]) -> Enqueue:
        """Device addresses by name: ``frame`` (1, H, W, 3) uint8 in, ``labels`` (1, H, W) uint8 out.

        All are multiples of :data:`~danet_runtime.tensorrt.cuda.session.ALIGNMENT`.
        """


class Slot:
    """Buffers and events for one frame in flight, made once and used for one frame after the other.

    Where the GPU shares the host's memory, as on a Jetson, the buffers on the host are those that the model
    reads and writes; elsewhere each has a second one on the GPU.

    Args:
        session: CUDA session whose context is current; it frees the buffers and events.
        frame_bytes: Size of a frame.
        labels_bytes: Size of its labels.
        bind: Makes the model ready between the slot's addresses.

    Attributes:
        is_mapped: Whether :attr:`frame` and :attr:`labels` are themselves what the model reads and writes.
        enqueue: Runs the model from :attr:`frame_address` to :attr:`labels_address`.
        graph: The enqueue between this slot's addresses, where it was captured.
        ticket: Ticket of the frame that used it last.
        guest: The frame that is copied, where another library owns it.
        target: Array on the host, or memory on the GPU, that its labels are for.
    """

    def __init__(self, session: CudaSession, frame_bytes: int, labels_bytes: int, bind: Bind) -> None:
        self.is_mapped = session.is_integrated
        self.frame, self.frame_address = _make_buffer(session, frame_bytes)
        self.labels, self.labels_address = _make_buffer(session, labels_bytes)
        self.upload_began, self.uploaded = session.make_event(), session.make_event()
        self.inference_began, self.inferred = session.make_event(), session.make_event()
        self.download_began, self.downloaded = session.make_event(), session.make_event()
        self.guest_ready, self.target_ready = session.make_event(), session.make_event()
        self.enqueue = bind({"frame": self.frame_address}, {"labels": self.labels_address})
        self.graph: Any = None
        self.ticket = -1
        self.guest: DeviceMemory | None = None
        self.target: UInt8Array | DeviceMemory | None = None

    def times(self, session: CudaSession) -> DeviceTimes:
        """Return the times of its last frame by the GPU's clock; that frame's work must be done.

        Raises:
            BackendError: The driver refuses.
        """

        def between(began: Any, ended: Any) -> float:  # noqa: ANN401 - two CUevents
            return float(session.call("cuEventElapsedTime", began, ended))

        return DeviceTimes(
            between(self.upload_began, self.uploaded),
            between(self.inference_began, self.inferred),
            between(self.download_began, self.downloaded),
        )


def _make_buffer(session: CudaSession, nbytes: int) -> tuple[PinnedMemory, int]:
    """Memory on the host, and the address at which the model finds it or its copy."""
    if session.is_integrated:
        return session.make_mapped(nbytes)
    return session.make_pinned(nbytes), session.make_memory(nbytes)
