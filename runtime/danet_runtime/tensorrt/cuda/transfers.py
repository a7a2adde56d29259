"""Copies of one slot: its frame to where the model reads it, its labels to where they were asked for.

Either may be on the host or on the GPU, there also in another context than the session's, as where pycuda
made one of its own. On a GPU that shares the host's memory the model reads and writes the slot's own buffers
on the host; there only arrays that are locked, or on the GPU, are copied by it.
"""

from __future__ import annotations

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.cuda.device_arrays import DeviceMemory
from danet_runtime.tensorrt.cuda.executor_slot import Slot
from danet_runtime.tensorrt.cuda.host_buffers import HostBuffers, address_of
from danet_runtime.tensorrt.cuda.labels_pool import LabelsPool
from danet_runtime.tensorrt.cuda.session import CudaSession


class Transfers:
    """Enqueues the copies of an executor on two streams of its own; the session's context is current.

    Args:
        session: CUDA session of the GPU.
        buffers: Arrays on the host that the GPU copies from and to by itself.
        pool: Memory for labels that stay on the GPU.

    Attributes:
        uploads: Handle of the stream on which frames are taken in.
        downloads: Handle of the stream on which labels are given out.
    """

    def __init__(self, session: CudaSession, buffers: HostBuffers, pool: LabelsPool) -> None:
        self._session = session
        self._buffers = buffers
        self._pool = pool
        self.uploads = session.make_stream()
        self.downloads = session.make_stream()

    def upload(self, slot: Slot, source: UInt8Array | DeviceMemory) -> None:
        """Bring a frame to where the model reads it; it is there when ``slot.uploaded`` has happened.

        Memory on the GPU is copied too: the model's addresses are set once, and need an alignment that memory
        of others may lack.

        Args:
            slot: Slot that it is copied into.
            source: The frame.
        """
        call, nbytes = self._session.call, slot.frame.array.nbytes
        slot.guest = source if isinstance(source, DeviceMemory) else None
        if slot.guest is not None:
            self._wait_for(slot.guest, self.uploads, slot.guest_ready)
        call("cuEventRecord", slot.upload_began, self.uploads)
        if isinstance(source, DeviceMemory):
            copy_on_device(self._session, DeviceMemory(slot.frame_address), source, nbytes, self.uploads)
        elif self._buffers.holds(source):
            copy = "cuMemcpyAsync" if slot.is_mapped else "cuMemcpyHtoDAsync"
            call(copy, slot.frame_address, address_of(source), nbytes, self.uploads)
        else:
            slot.frame.array[:] = source.reshape(-1)
            if not slot.is_mapped:
                call("cuMemcpyHtoDAsync", slot.frame_address, slot.frame.address, nbytes, self.uploads)
        call("cuEventRecord", slot.uploaded, self.uploads)

    def download(self, slot: Slot) -> None:
        """Bring a slot's labels to its target, after ``slot.inferred``; ``slot.downloaded`` tells when."""
        call, nbytes, target = self._session.call, slot.labels.array.nbytes, slot.target
        call("cuStreamWaitEvent", self.downloads, slot.inferred, 0)
        if isinstance(target, DeviceMemory):
            self._wait_for(target, self.downloads, slot.target_ready)
            self._pool.order(target.address, self.downloads)
        call("cuEventRecord", slot.download_began, self.downloads)
        if isinstance(target, DeviceMemory):
            copy_on_device(self._session, target, DeviceMemory(slot.labels_address), nbytes, self.downloads)
        elif target is not None and self._buffers.holds(target):
            copy = "cuMemcpyAsync" if slot.is_mapped else "cuMemcpyDtoHAsync"
            call(copy, address_of(target), slot.labels_address, nbytes, self.downloads)
        elif not slot.is_mapped:
            call("cuMemcpyDtoHAsync", slot.labels.address, slot.labels_address, nbytes, self.downloads)
        call("cuEventRecord", slot.downloaded, self.downloads)

    def _wait_for(self, memory: DeviceMemory, stream: int, ready: object) -> None:
        """Let a stream wait for what another library has enqueued with its memory."""
        call = self._session.call
        if memory.stream is None:
            return
        if memory.context is None:
            call("cuEventRecord", ready, memory.stream)
            call("cuStreamWaitEvent", stream, ready, 0)
            return
        with self._session.inside(memory.context):  # the event must be of its stream's context
            event = call("cuEventCreate", self._session.driver.api.CUevent_flags.CU_EVENT_DISABLE_TIMING)
            try:
                call("cuEventRecord", event, memory.stream)
                with self._session.active():
                    call("cuStreamWaitEvent", stream, event, 0)
            finally:
                call("cuEventDestroy", event)  # goes when it has happened


def copy_on_device(
    session: CudaSession, target: DeviceMemory, source: DeviceMemory, nbytes: int, stream: int
) -> None:
    """Enqueue a copy on the GPU, between contexts where one of the two is in another one.

    Raises:
        BackendError: The driver refuses.
        FaultError: The GPU is lost.
    """
    if target.context is None and source.context is None:
        session.call("cuMemcpyDtoDAsync", target.address, source.address, nbytes, stream)
        return
    here = session.context
    to, origin = target.context or here, source.context or here
    session.call("cuMemcpyPeerAsync", target.address, to, source.address, origin, nbytes, stream)
