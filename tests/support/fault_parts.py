"""The parts of a stream that fail, pause or hang when told so, by :mod:`fault_schedules`."""

from __future__ import annotations

import threading
from dataclasses import replace

from stream_parts import HW, Camera, Echo, Record

from danet_runtime.errors import BackendError, SinkError, SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.processes.running import RUNNING
from danet_runtime.results.result import Result
from danet_runtime.sinks import StreamFormat
from danet_runtime.sources import FrameInfo
from danet_runtime.sources.protocol.damage import DamageCount


class Model(Echo):
    """Fails or hangs for a while when told so."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.free = threading.Event()
        self.free.set()

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.snare.pass_by()
        self.free.wait(20)
        if self.failures:
            self.failures -= 1
            raise BackendError("it broke")
        super().infer(frame, labels)


class Sometimes(Record):
    """A sink of one size that fails or pauses for a while when told so."""

    failures = 0

    def write(self, result: Result) -> None:
        if self.failures:
            self.failures -= 1
            raise SinkError("the disk is full")
        super().write(result)


class Adopting(Sometimes):
    """Likewise, of any size."""

    def adopt(self, stream_format: StreamFormat) -> None:
        self.size_hw = stream_format.size_hw


class Unreliable(Camera):
    """A camera without a clock: stamps frames as they are read, also those that waited here.

    Attributes:
        taken_ns: By id in the stream, when the frame was really captured.
        sizes_hw: By id in the stream, its size.
        resumed_ns: When the process went on after it had stood still, also for want of a processor.
    """

    def __init__(self) -> None:
        super().__init__(0.001)
        self.damage = DamageCount()
        self.damaged = 0
        self.errors: list[Exception] = []
        self.is_mute = False
        self.comes_as = HW
        self.waiting: list[int] = []  # when those were captured that wait here since before a pause
        self.taken_ns: dict[int, int] = {}
        self.sizes_hw: dict[int, tuple[int, int]] = {}
        self.resumed_ns: set[int] = set()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        number = self._total
        info = super().read_into(buffer)
        if info is None:
            return None
        self.taken_ns[number] = self.waiting.pop(0) if self.waiting else info.capture_time_ns
        self.sizes_hw[number] = self.size_hw
        self.resumed_ns.add(RUNNING.resumed_ns())
        if self.damaged:
            self.damaged -= 1
            self.damage.add("lost packets")
            info = replace(info, damage="lost packets")
        return info

    def reopen(self) -> None:
        if self.errors:
            raise self.errors.pop()
        if self.is_mute:
            self._interrupted.wait(20)
            self._interrupted.clear()
            self.is_mute = False
            raise SourceError("gave no frame and was interrupted")
        self.waiting.clear()
        self.size_hw = self.comes_as
        super().reopen()
