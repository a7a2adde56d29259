"""Copies of one slot: its frame to where the model reads it, its labels to where they were asked for.

Either may be on the host or on the GPU, there also in another context than the session's, as where pycuda
made one of its own.
"""

from __future__ import annotations

import numpy as np

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

    def upload(self, slot: Slot, source: UInt8Array | DeviceMemory) -> int:
        """Make a frame ready for the model, when ``slot.uploaded`` has happened.

        Args:
            slot: Slot that it is copied into, unless it can be read in place.
            source: The frame; memory on the GPU is read in place where the slot has no graph, whose address
                would be frozen, and the memory is of the session's context.

        Returns:
            Its address on the GPU.
        """
        call, nbytes = self._session.call, slot.frame.array.nbytes
        in_place = isinstance(source, DeviceMemory) and slot.graph is None and source.context is None
        slot.has_upload = not in_place
        slot.guest = source if isinstance(source, DeviceMemory) else None
        if slot.guest is not None:
            self._wait_for(slot.guest, self.uploads, slot.guest_ready)
        if slot.has_upload:
            call("cuEventRecord", slot.upload_began, self.uploads)
        if isinstance(source, np.ndarray):
            address = address_of(source)
            if not self._buffers.holds(source):
                slot.frame.array[:] = source.reshape(-1)
                address = slot.frame.address
            call("cuMemcpyHtoDAsync", slot.frame_address, address, nbytes, self.uploads)
        elif slot.has_upload:
            copy_on_device(self._session, DeviceMemory(slot.frame_address), source, nbytes, self.uploads)
        call("cuEventRecord", slot.uploaded, self.uploads)
        return slot.frame_address if slot.guest is None or slot.has_upload else slot.guest.address

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
        else:
            is_direct = target is not None and self._buffers.holds(target)
            address = address_of(target) if target is not None and is_direct else slot.labels.address
            call("cuMemcpyDtoHAsync", address, slot.labels_address, nbytes, self.downloads)
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
