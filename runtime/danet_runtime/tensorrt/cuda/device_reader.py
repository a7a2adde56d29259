"""Frames on the GPU as the host gets them: copied into its memory, when whoever makes them is done."""

from __future__ import annotations

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.device_arrays import DeviceArray, DeviceView
from danet_runtime.tensorrt.cuda.device_arrays import device_memory
from danet_runtime.tensorrt.cuda.host_buffers import address_of
from danet_runtime.tensorrt.cuda.session import CudaSession


class DeviceReader:
    """Copies from the GPU to the host, on a stream of its own; use from the thread that makes the frames.

    Raises:
        MissingDependencyError: cuda-python is not installed.
        BackendError: There is no driver, or no GPU.
    """

    def __init__(self, session: CudaSession | None = None) -> None:
        self._session = session or CudaSession()
        with self._session.active():
            self._stream = self._session.make_stream()

    def read_into(self, array: DeviceArray, buffer: UInt8Array) -> DeviceView:
        """Wait for what is enqueued with a frame, and copy it.

        Args:
            array: Array with ``__cuda_array_interface__`` or ``__dlpack__``, of the buffer's shape.
            buffer: uint8, C-contiguous; overwritten.

        Returns:
            The frame where it lies, complete now, with its owner.

        Raises:
            FrameError: It is no such array.
            BackendError: The driver refuses.
            FaultError: The GPU is lost.
        """
        session, shape = self._session, (1, *buffer.shape)
        with session.active():
            memory = device_memory(array, "frame", shape, session, self._stream)
            if memory.context is not None:
                # Its streams and its memory are another context's, which copies them as its own.
                with session.inside(memory.context):
                    if memory.stream is not None:
                        session.call("cuStreamSynchronize", memory.stream)
                    session.call("cuMemcpyDtoH", address_of(buffer), memory.address, buffer.nbytes)
            else:
                if memory.stream is not None:
                    session.call("cuStreamSynchronize", memory.stream)
                session.call(
                    "cuMemcpyDtoHAsync", address_of(buffer), memory.address, buffer.nbytes, self._stream
                )
                session.call("cuStreamSynchronize", self._stream)
        return DeviceView(memory.address, shape, memory.owner)

    def close(self) -> None:
        """Release the stream; harmless when called twice."""
        self._session.close()
