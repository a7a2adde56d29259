"""Random schedules of faults: whatever comes in whatever order, the stream keeps its promises.

It never deadlocks; it never delivers a result for a frame that was not captured; ids only grow; every
captured frame is delivered, dropped or counted; the number of buffers is bounded; every sink is finished, and
files can be read.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from pathlib import Path

import cv2
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from stream_parts import Camera, Echo, Record, check, stream_of

from danet_runtime import Segmenter
from danet_runtime.backends.base import UInt8Array
from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, DanetError, FaultError, SinkError
from danet_runtime.result import Result
from danet_runtime.sinks import open_sink

CAMERAS = st.sampled_from(("front", "rear"))


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
    """Fails or pauses for a while when told so."""

    failures = 0

    def write(self, result: Result) -> None:
        if self.failures:
            self.failures -= 1
            raise SinkError("the disk is full")
        super().write(result)


def machine_for(bundle: Bundle, folder: Path) -> type[RuleBasedStateMachine]:
    class Drive(RuleBasedStateMachine):
        """One stream of two cameras, from its start to its end."""

        @initialize(
            policy=st.sampled_from((None, "every")),
            deadline=st.sampled_from((None, 0.5, 1000.0)),
            files=st.booleans(),
        )
        def start(self, policy: str | None, deadline: float | None, files: bool) -> None:
            self.model = Model()
            self.cameras = {name: Camera(0.001) for name in ("front", "rear")}
            self.sinks = {name: [Sometimes(), Sometimes()] for name in self.cameras}
            self.files = [folder / "drive.mkv", folder / "drive.jsonl"] if files else []
            outputs = [open_sink(str(path), overwrite=True) for path in self.files]
            self.seen: dict[str, list[int]] = defaultdict(list)
            self.buffers: set[int] = set()
            self.error: DanetError | None = None
            self.stream = stream_of(
                Segmenter(bundle, backend=self.model),
                self.cameras,
                {"front": [*self.sinks["front"], *outputs], "rear": self.sinks["rear"]},
                policy=policy,
                deadline_ms=deadline,
                late="drop" if deadline == 0.5 else "mark",
                reconnect_first_s=0.002,
                source_timeout_s=0.03,
                inference_timeout_s=0.1,
                watch_every_s=0.005,
                stale_after_s=0.02,
                sink_failures=5,
                grace_s=1.0,
            )
            self.stream.start()
            self.ended = threading.Event()
            self.reader = threading.Thread(target=self.read, daemon=True)
            self.reader.start()

        def read(self) -> None:
            try:
                for result in self.stream:
                    check(result)
                    self.seen[result.source].append(result.frame_id)
                    self.buffers.add(result.labels.ctypes.data)
            except DanetError as error:
                self.error = error
            finally:
                self.ended.set()

        @rule(camera=CAMERAS, trouble=st.sampled_from(("die", "hang", "clock", None)))
        def trouble(self, camera: str, trouble: str | None) -> None:
            self.cameras[camera].refuse = self.cameras[camera].reopened + 1
            self.cameras[camera].trouble = trouble

        @rule(times=st.integers(1, 4))
        def model_fails(self, times: int) -> None:
            self.model.failures = times

        @rule(long=st.booleans())
        def model_hangs(self, long: bool) -> None:
            self.model.free.clear()
            time.sleep(0.15 if long else 0.01)
            self.model.free.set()

        @rule(camera=CAMERAS, number=st.integers(0, 1), times=st.integers(1, 6))
        def sink_fails(self, camera: str, number: int, times: int) -> None:
            self.sinks[camera][number].failures = times

        @rule(camera=CAMERAS, number=st.integers(0, 1), pause=st.sampled_from((0.0, 0.02)))
        def sink_slows(self, camera: str, number: int, pause: float) -> None:
            self.sinks[camera][number].pause_s = pause

        @rule(part=st.sampled_from(("camera", "model", "sink")), camera=CAMERAS, rarely=st.integers(0, 9))
        def thread_dies(self, part: str, camera: str, rarely: int) -> None:
            if rarely == 0:
                parts = {"camera": self.cameras[camera], "model": self.model, "sink": self.sinks[camera][0]}
                parts[part].snare.spring()

        @rule(camera=CAMERAS, rarely=st.integers(0, 9))
        def comes_back_with_another_size(self, camera: str, rarely: int) -> None:
            if rarely == 0:
                self.cameras[camera].size_hw = (24, 32)
                self.cameras[camera].trouble = "die"

        @rule()
        def drive(self) -> None:
            time.sleep(0.01)

        @rule(now=st.integers(0, 9))
        def stop(self, now: int) -> None:
            if now == 0:
                self.stream.stop()

        @invariant()
        def ids_grow_and_were_captured(self) -> None:
            for name, ids in list(getattr(self, "seen", {}).items()):
                taken = list(ids)
                assert taken == sorted(set(taken))
                assert not taken or taken[-1] < self.cameras[name]._total

        def teardown(self) -> None:
            if not hasattr(self, "stream"):
                return
            self.model.free.set()
            self.stream.stop()
            assert self.ended.wait(15), "the stream did not end"
            for camera in self.stream.report().cameras:
                frames = camera["frames"]
                # Each is counted where it happens, none as what is left of the others.
                assert frames["in"] == sum(count for key, count in frames.items() if key != "in")
                assert frames["in"] == self.cameras[camera["name"]].delivered
                for sink in camera["sinks"]:
                    assert sink["written"] + sink["dropped"] + sink["failed"] <= frames["in"]
            for sinks in self.sinks.values():
                for sink in sinks:
                    assert sink.closed == 1
                    assert sink.ids == sorted(set(sink.ids))
            assert len(self.buffers) <= 2 * (4 + 2 * 5)
            told = {sink.get("path"): sink["written"] for sink in self.stream.report().cameras[0]["sinks"]}
            for path in self.files:
                assert readable_frames(path) == told[str(path)] if told[str(path)] else True
            assert isinstance(self.error, FaultError) == (self.stream.health.state == "fault")

    return Drive


def readable_frames(path: Path) -> int:
    """How many results a file gives that is read to its end."""
    if path.suffix == ".jsonl":
        ids = [json.loads(line)["frame_id"] for line in path.read_text(encoding="utf-8").splitlines()]
        assert ids == sorted(set(ids))
        return len(ids)
    video, count = cv2.VideoCapture(str(path)), 0
    while video.grab():
        count += 1
    video.release()
    return count


def run(bundle: Bundle, folder: Path, schedules: int) -> None:
    run_state_machine_as_test(
        machine_for(bundle, folder),
        settings=settings(
            max_examples=schedules,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_fifty_schedules(bundle: Bundle, tmp_path: Path) -> None:
    run(bundle, tmp_path, 50)


@pytest.mark.slow
def test_five_hundred_schedules(bundle: Bundle, watchdog: object, tmp_path: Path) -> None:
    watchdog(400)  # type: ignore[operator]
    run(bundle, tmp_path, 500)
