"""Memory on the GPU for labels that a caller keeps, used again when nobody holds them any more."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from danet_runtime.frames.device_arrays import DeviceLabels
from danet_runtime.tensorrt.cuda.device_arrays import LEGACY_DEFAULT_STREAM
from danet_runtime.tensorrt.cuda.session import CudaSession


@dataclass
class _Block:
    """Memory of one frame's labels.

    Attributes:
        address: Device address of its first byte.
        default: Event of what reads it on the default stream.
        readers: Events of what reads it on other streams, by their handles.
        was_used: Whether labels were written there before.
    """

    address: int
    default: Any
    readers: dict[int, Any] = field(default_factory=dict)
    was_used: bool = False


class LabelsPool:
    """Gives labels memory of their own; as much as is held at a time, which is the callers' affair.

    Use with the session's context current.

    Args:
        session: CUDA session of the GPU.
        shape: (1, H, W) of uint8.
        is_open: Whether the labels may still be used.
        running: Makes the session's context current in the calling thread; a context manager.
    """

    def __init__(
        self,
        session: CudaSession,
        shape: tuple[int, ...],
        is_open: Callable[[], bool],
        running: Callable[[], Any],
    ) -> None:
        self._session = session
        self._shape = shape
        self._is_open = is_open
        self._running = running
        self._blocks: dict[int, _Block] = {}
        self._free: deque[_Block] = deque()  # a finalizer appends, in whichever thread

    def take(self) -> DeviceLabels:
        """Memory that nobody holds.

        Raises:
            BackendError: There is not enough.
            FaultError: The GPU is lost.
        """
        try:
            block = self._free.pop()
        except IndexError:
            address = int(self._session.call("cuMemAlloc", int(np.prod(self._shape))))
            block = self._blocks[address] = _Block(address, self._session.make_event())

        def note_reader(stream: int) -> None:
            with self._running():
                event = block.readers.get(stream)
                if event is None:
                    event = self._session.make_event()
                self._session.call("cuEventRecord", event, stream)
                block.readers[stream] = event

        labels = DeviceLabels(block.address, self._shape, self._is_open, note_reader)
        weakref.finalize(labels, self._free.append, block).atexit = False
        return labels

    def order(self, address: int, writer: int) -> None:
        """Let a stream wait for those who read what was there; nothing for memory of others.

        Raises:
            BackendError: The driver refuses.
            FaultError: The GPU is lost.
        """
        block = self._blocks.get(address)
        if block is None:
            return
        if block.was_used:
            # Most libraries work on the default stream, and say nothing when they have let go.
            self._session.call("cuEventRecord", block.default, LEGACY_DEFAULT_STREAM)
            for event in (block.default, *block.readers.values()):
                self._session.call("cuStreamWaitEvent", writer, event, 0)
        block.was_used = True

    def close(self) -> None:
        """Free what nobody holds; what is held stays, to the end of the process, with whoever reads it.

        Raises:
            BackendError: The driver refuses.
        """
        while self._free:
            self._session.call("cuMemFree", self._free.pop().address)
