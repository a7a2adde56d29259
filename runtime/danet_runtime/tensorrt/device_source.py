"""Frames that are on the GPU already as the source of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from danet_runtime.clock import now_ns
from danet_runtime.errors import FrameError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.device_arrays import DeviceArray, is_on_device, title_of
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.sources.protocol.source import FrameInfo
from danet_runtime.tensorrt.cuda.device_reader import DeviceReader


class DeviceSource:
    """Gives a stream arrays on the GPU; see :class:`danet_runtime.sources.protocol.source.Source`.

    Each one is copied on the GPU to where the model reads it. Beside it the frame is copied to the host, for
    whoever shows or records it; that copy is made in the thread that takes the arrays, which waits until
    their library is done with them. So every array must have memory of its own, unchanged as long as the
    stream holds it; a producer with one buffer gives copies. The frames must be of the bundle's own size and
    format.

    Args:
        frames: Arrays with ``__cuda_array_interface__`` or ``__dlpack__``, as of a generator, which runs in
            the stream's thread of this camera: a context that it needs it makes current itself.
        size_hw: Height and width of all of them, as :attr:`Segmenter.frame_size_hw
            <danet_runtime.inference.segmenter.Segmenter.frame_size_hw>`.
        pixels: Pixel format of the frames.
        fps: Frames a second, where there is a rate.
        live: Whether frames arrive at their own rate, so that a stream takes the latest one.
        reader: Copies them; by default one of its own.

    Raises:
        MissingDependencyError: cuda-python is not installed.
        BackendError: There is no driver, or no GPU.
    """

    count: int | None = None

    def __init__(
        self,
        frames: Iterable[DeviceArray],
        size_hw: tuple[int, int],
        *,
        pixels: Pixels = BGR,
        fps: float | None = None,
        live: bool = False,
        reader: DeviceReader | None = None,
    ) -> None:
        self.size_hw = size_hw
        self.pixels = pixels
        self.fps = fps
        self.live = live
        self._frames: Iterator[DeviceArray] = iter(frames)
        self._reader = reader or DeviceReader()
        self._given = 0

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Take the next array; see :class:`danet_runtime.sources.protocol.source.Source`.

        Raises:
            FrameError: It is not on the GPU, or of another size, type or layout.
            BackendError: The driver refuses.
            FaultError: The GPU is lost.
        """
        array = next(self._frames, None)
        if array is None:
            return None
        captured_ns = now_ns()
        if not is_on_device(array):
            raise FrameError(
                f"a source of arrays on the GPU got {title_of(array)}; frames of the host come from a "
                "source of their own, see the Source protocol"
            )
        view = self._reader.read_into(array, buffer)
        self._given += 1
        return FrameInfo(self._given - 1, captured_ns, on_device=view)

    def describe(self) -> dict[str, Any]:
        """Kind, size and frames given."""
        return {"kind": "device", "size_hw": list(self.size_hw), "frames": self._given}

    def close(self) -> None:
        """Release the GPU; harmless when called twice."""
        self._reader.close()
