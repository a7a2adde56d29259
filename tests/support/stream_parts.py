"""Sources, backends and sinks for tests of the stream: frames carry their number, parts fail on request."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from danet_runtime import Stream, StreamOptions
from danet_runtime.clock import now_ns
from danet_runtime.errors import BackendError, SinkError, SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.result import Result
from danet_runtime.sinks import StreamFormat
from danet_runtime.sources import FrameInfo
from danet_runtime.stream.state.slots import Policy
from danet_runtime.timing import DeviceTimes

HW = (48, 64)


def stream_of(
    *arguments: Any, policy: Policy | None = None, max_frames: int | None = None, **options: Any
) -> Stream:
    """A stream without the golden frame, whose labels the backends of these tests do not give."""
    asked: dict[str, Any] = {"policy": policy, "max_frames": max_frames}
    return Stream(*arguments, **asked, options=StreamOptions(golden=False, **options))


class Snare:
    """A place where the next thread that comes by is held and then killed from outside.

    CPython ends a thread between any two bytecodes. Inside :class:`threading.Condition` that leaves a lock
    taken for ever, which no program can mend; so the kill comes while the thread is in a camera, a backend or
    a sink.
    """

    def __init__(self) -> None:
        self._armed = False
        self._sprung = False
        self._caught: int | None = None

    def pass_by(self) -> None:
        """What the camera, the backend or the sink calls."""
        if self._sprung:
            self._sprung = False
            raise SystemExit
        if self._armed:
            self._armed = False
            self._caught = threading.get_ident()
            while True:
                time.sleep(0.001)

    def spring(self) -> None:
        """End the next thread that comes by, if one does."""
        self._sprung = True

    def kill(self) -> None:
        """Wait for a thread to come by, and end it."""
        self._armed = True
        until(lambda: self._caught is not None)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self._caught or 0), ctypes.py_object(SystemExit)
        )


class Frames:
    """A source of frames that carry their number, with a pause and a failure where asked."""

    fps: float | None = 25.0

    def __init__(
        self, count: int, live: bool = False, pause_s: float = 0.0, error: Exception | None = None
    ) -> None:
        self.size_hw = HW
        self.count: int | None = count
        self.live = live
        self.pause_s = pause_s
        self.error = error
        self.read = 0
        self.closed = 0
        self.snare = Snare()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        self.snare.pass_by()
        time.sleep(self.pause_s)
        if self.read == self.count:
            if self.error is not None:
                raise self.error
            return None
        buffer[:] = self.read % 251
        self.read += 1
        return FrameInfo(self.read - 1, now_ns())

    def describe(self) -> dict[str, Any]:
        return {"kind": "frames"}

    def close(self) -> None:
        self.closed += 1


class Hanging(Frames):
    """A source that stops answering, as a camera does, until it is released."""

    def __init__(self, count: int, until: int) -> None:
        super().__init__(count)
        self.until = until
        self.release = threading.Event()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        if self.read == self.until:
            self.release.wait(20)
            return None
        return super().read_into(buffer)


class Echo:
    """A backend whose labels are the frame's own number."""

    name = "echo"

    def __init__(self, pause_s: float = 0.0, fail_at: int | None = None) -> None:
        self.pause_s = pause_s
        self.fail_at = fail_at
        self.calls = 0
        self.snare = Snare()

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.snare.pass_by()
        if self.calls == self.fail_at:
            raise BackendError("the model broke")
        self.calls += 1
        time.sleep(self.pause_s)
        labels[:] = frame[..., 0]

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def close(self) -> None:
        pass


class Overlapping(Echo):
    """A backend of three stages of fixed times, each for one frame at a time, as a GPU's copies and kernels.

    Labels are the frame's number, read when its upload ends, so that a frame that is changed too early shows.
    """

    name = "overlapping"

    def __init__(self, stages_s: tuple[float, float, float] = (0.0, 0.0, 0.0), depth: int = 2) -> None:
        super().__init__()
        self.stages_s = stages_s
        self.depth = depth
        self.most_under_way = 0
        self.fail_submits: set[int] = set()
        self.fail_collects: set[int] = set()
        self.error: Exception = BackendError("the model broke")
        self.hang = threading.Event()
        self.hang.set()
        self.submitted = 0
        self.submit_snare = Snare()
        self._free_at = [0.0, 0.0, 0.0]
        self._flying: dict[int, tuple[threading.Timer, list[int], UInt8Array]] = {}

    @property
    def under_way(self) -> int:
        return len(self._flying)

    def submit(self, frame: UInt8Array, labels: UInt8Array) -> int:
        self.submit_snare.pass_by()
        number = self.submitted
        self.submitted += 1
        if number in self.fail_submits:
            raise self.error
        assert len(self._flying) < self.depth, "more frames than there is room for"
        now = time.monotonic()
        for stage, seconds in enumerate(self.stages_s):
            now = self._free_at[stage] = max(now, self._free_at[stage]) + seconds
        seen: list[int] = []
        uploaded = self._free_at[0] - time.monotonic()
        upload = threading.Timer(max(0.0, uploaded), lambda: seen.append(int(frame[0, 0, 0, 0])))
        upload.daemon = True
        upload.start()
        done = threading.Timer(max(0.0, now - time.monotonic()), upload.join)
        done.daemon = True
        done.start()
        self._flying[number] = (done, seen, labels)
        self.most_under_way = max(self.most_under_way, len(self._flying))
        return number

    def collect(self, ticket: int) -> DeviceTimes:
        self.snare.pass_by()
        done, seen, labels = self._flying[ticket]
        done.join()
        self.hang.wait(20)
        del self._flying[ticket]
        self.calls += 1
        if ticket in self.fail_collects:
            raise self.error
        labels[:] = seen[0]
        return DeviceTimes(*(1e3 * seconds for seconds in self.stages_s))

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.collect(self.submit(frame, labels))


class Record:
    """A sink that keeps the ids, and checks that frame and labels belong together."""

    name = "record"

    def __init__(self, pause_s: float = 0.0, fail_at: int | None = None, fails_in: str = "write") -> None:
        self.pause_s = pause_s
        self.fail_at = fail_at
        self.fails_in = fails_in
        self.ids: list[int] = []
        self.opened = 0
        self.closed = 0
        self.snare = Snare()

    def open(self, stream_format: StreamFormat) -> None:
        if self.fails_in == "open":
            raise SinkError("no place")
        self.opened += 1

    def write(self, result: Result) -> None:
        self.snare.pass_by()
        check(result)
        time.sleep(self.pause_s)
        check(result)  # nobody wrote into it meanwhile
        if self.fails_in == "write" and len(self.ids) == self.fail_at:
            raise SinkError("the disk is full")
        self.ids.append(result.frame_id)

    def describe(self) -> dict[str, Any]:
        return {"kind": self.name, "frames": len(self.ids)}

    def close(self) -> None:
        self.closed += 1
        if self.fails_in == "close":
            raise SinkError("not whole")


def check(result: Result) -> None:
    number = result.frame_id % 251
    assert (result.frame == number).all()
    assert (result.labels == number).all()


class Camera(Frames):
    """A live source that can be told to fail, hang, freeze or go black, and that can be opened again."""

    def __init__(self, every_s: float = 0.005, count: int = 10**9) -> None:
        super().__init__(count, live=True, pause_s=every_s)
        self.trouble: str | None = None
        self.reopened = 0
        self.refuse = 0
        self.delivered = 0
        self._total = 0
        self._interrupted = threading.Event()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        if self.trouble == "hang":
            self._interrupted.wait(20)
            self._interrupted.clear()
            raise SourceError("interrupted")
        if self.trouble == "die":
            raise SourceError("unplugged")
        info = super().read_into(buffer)
        self.delivered += info is not None
        buffer[:] = self._total % 251  # goes on where the ids of the stream go on
        self._total += 1
        if self.trouble == "black":
            buffer[:] = self.read % 2
        elif self.trouble == "freeze":
            buffer[:] = 77
        elif self.trouble == "clock" and info is not None:
            info = replace(info, capture_time_ns=info.capture_time_ns - 10**10 * (self.read % 2))
        return info

    def interrupt(self) -> None:
        self._interrupted.set()

    def reopen(self) -> None:
        self.reopened += 1
        if self.reopened <= self.refuse:
            raise SourceError("still unplugged")
        self.trouble = None
        self.read = 0
        self._total += 1  # the stream leaves a gap, too


def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something to hold, and fail where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def reported(stream: Stream, words: str) -> bool:
    """Whether the health of a stream has given a reason with these words."""
    return any(words in reason for event in stream.health.events for reason in event.reasons)
