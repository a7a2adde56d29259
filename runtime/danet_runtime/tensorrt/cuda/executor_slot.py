"""One frame's memory on both sides, the events between its stages, and its graph where there is one."""

from __future__ import annotations

from typing import Any, Protocol

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.cuda.device_arrays import DeviceMemory
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.timing import DeviceTimes


class Enqueue(Protocol):
    """Enqueues one inference on a stream; nothing is waited for."""

    def __call__(self, stream: int, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Device addresses by name: ``frame`` (1, H, W, 3) uint8 in, ``labels`` (1, H, W) uint8 out."""


class Slot:
    """Buffers and events for one frame in flight, made once and used for one frame after the other.

    Args:
        session: CUDA session whose context is current; it frees the buffers and events.
        frame_bytes: Size of a frame.
        labels_bytes: Size of its labels.

    Attributes:
        graph: The enqueue between this slot's addresses, where it was captured.
        ticket: Ticket of the frame that used it last.
        guest: The frame that is read, where another library owns it.
        has_upload: Whether this frame is copied before it is read.
        target: Array on the host, or memory on the GPU, that its labels are for.
    """

    def __init__(self, session: CudaSession, frame_bytes: int, labels_bytes: int) -> None:
        self.frame, self.frame_address = session.make_pinned(frame_bytes), session.make_memory(frame_bytes)
        self.labels, self.labels_address = (
            session.make_pinned(labels_bytes),
            session.make_memory(labels_bytes),
        )
        self.upload_began, self.uploaded = session.make_event(), session.make_event()
        self.inference_began, self.inferred = session.make_event(), session.make_event()
        self.download_began, self.downloaded = session.make_event(), session.make_event()
        self.guest_ready, self.target_ready = session.make_event(), session.make_event()
        self.graph: Any = None
        self.ticket = -1
        self.guest: DeviceMemory | None = None
        self.target: UInt8Array | DeviceMemory | None = None
        self.has_upload = False

    def times(self, session: CudaSession) -> DeviceTimes:
        """Return the times of its last frame by the GPU's clock; that frame's work must be done.

        Raises:
            BackendError: The driver refuses.
        """

        def between(began: Any, ended: Any) -> float:  # noqa: ANN401 - two CUevents
            return float(session.call("cuEventElapsedTime", began, ended))

        return DeviceTimes(
            between(self.upload_began, self.uploaded) if self.has_upload else 0.0,
            between(self.inference_began, self.inferred),
            between(self.download_began, self.downloaded),
        )
