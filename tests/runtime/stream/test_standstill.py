"""A process that stands still is not one whose GPU hangs: stopped, suspended or starved, it goes on after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stream_parts import Camera, Echo, Overlapping, Record, reported, stream_of, until
from suspension import Suspension

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import FaultError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.result import Result
from danet_runtime.sources import FrameInfo
from danet_runtime.stream.state.fallback import FallbackRules

QUICK = {"reconnect_first_s": 0.01, "watch_every_s": 0.01}
SUPPORT = Path(__file__).resolve().parents[2] / "support"

# An inference is under way at every moment; what is told to the standard input ends it.
DRIVE = """
import json, sys, threading
from danet_runtime import Segmenter
from danet_runtime.errors import DanetError
from stream_parts import Camera, Echo, Record, stream_of
sink = Record(0.02)
stream = stream_of(Segmenter(sys.argv[1], backend=Echo(0.2)), Camera(), [sink], inference_timeout_s=1.0,
                   source_timeout_s=0.5, sink_timeout_s=0.5, grace_s=1.0)
stream.start()
def end():
    sys.stdin.readline()
    stream.stop()
threading.Thread(target=end, daemon=True).start()
error, seen = None, []
try:
    for result in stream:
        if not seen:
            print("runs", flush=True)
        seen.append((result.age_ms, result.health))
except DanetError as raised:
    error = repr(raised)
stream.close()
reasons = [reason for event in stream.health.events for reason in event.reasons]
print(json.dumps({"error": error, "reasons": reasons, "seen": seen, "state": stream.health.state}))
"""


@pytest.fixture
def suspension(monkeypatch: pytest.MonkeyPatch) -> Iterator[Suspension]:
    machine = Suspension(monkeypatch)
    yield machine
    machine.forget()


def test_a_process_that_is_stopped_by_a_signal_and_goes_on_has_no_fault_and_says_how_long(
    bundle: Bundle,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVE, str(bundle.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "runs\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.2)  # more than the limits of source, inference and sink
    process.send_signal(signal.SIGCONT)
    time.sleep(0.6)
    done = json.loads(process.communicate("end\n", timeout=20)[0])
    assert done["error"] is None
    assert any("the process stood still for 2." in reason for reason in done["reasons"])
    wrong = ("inference", "has given no frame", "busy for more than")
    assert [reason for reason in done["reasons"] if any(words in reason for words in wrong)] == []
    old = [health for age_ms, health in done["seen"] if age_ms > 2000]
    assert old  # the frame that was under way is as old as it is
    assert set(old) == {"stale"}


def test_a_suspended_machine_is_no_fault_its_masks_are_old_and_it_degrades_for_a_while(
    segmenter_with: Callable, suspension: Suspension
) -> None:
    release = threading.Event()

    class Held(Echo):
        hold = False

        def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
            if self.hold:
                release.wait(20)
            super().infer(frame, labels)

    backend, sink = Held(), Record()
    seen: list[Result] = []
    keep = sink.write
    sink.write = lambda result: (seen.append(result), keep(result))[1]  # type: ignore[method-assign]
    with stream_of(
        segmenter_with(backend), Camera(), [sink], inference_timeout_s=2.0, jump_shown_s=0.3, **QUICK
    ) as stream:
        until(lambda: stream.health.state == "ready" and stream.frames_out > 5)
        backend.hold = True
        until(lambda: stream._loop._inference.workers[0].busy_s > 0.05)
        suspension.sleep(60)
        until(lambda: reported(stream, "the process stood still for 60."))
        assert stream.latest(max_age_ms=59_000) is None
        assert stream.health.state == "stale"
        backend.hold = False
        release.set()
        until(lambda: stream.health.state == "ready")
    assert stream.report().error is None
    assert not reported(stream, "wall clock jumped")
    old = [result for result in seen if result.age_ms > 59_000]
    assert len(old) >= 1  # what was under way
    assert {result.health for result in old} == {"stale"}
    states = [event.state for event in stream.health.events if "stood still" in "".join(event.reasons)]
    assert "degraded" in states


@pytest.mark.parametrize("before", [True, False])
def test_an_inference_that_hangs_before_or_after_a_standstill_is_still_found(
    segmenter_with: Callable, suspension: Suspension, before: bool
) -> None:
    release = threading.Event()

    class Hanging(Echo):
        hangs = False

        def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
            if self.hangs:
                release.wait(20)
            super().infer(frame, labels)

    backend = Hanging()
    stream = stream_of(segmenter_with(backend), Camera(), inference_timeout_s=0.6, grace_s=0.2, **QUICK)
    with pytest.raises(FaultError, match=r"not returned for 0\.6 s"), stream:  # noqa: PT012
        until(lambda: stream.frames_out > 5)
        backend.hangs = before
        suspension.sleep(30)
        until(lambda: reported(stream, "stood still"))
        assert stream.health.state != "fault"
        backend.hangs = True
        for _ in stream:
            pass
    release.set()


class Piled(Camera):
    """Stamps frames as they are read, like a camera without a clock: those that waited would seem young."""

    clock = "arrival"

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        info = super().read_into(buffer)
        return None if info is None else replace(info, clock=self.clock)  # type: ignore[arg-type]


def test_frames_that_waited_while_the_process_stood_still_are_left_out_where_nobody_knows_their_age(
    segmenter_with: Callable, suspension: Suspension
) -> None:
    camera, sink = Piled(), Record()
    with stream_of(segmenter_with(Echo()), camera, [sink], **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        suspension.sleep(5)
        until(lambda: camera.reopened == 1)
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 20)
        assert camera.reopened == 1
    assert reported(stream, "nobody knows how old waiting frames are")
    assert camera.delivered == stream.frames_in + 1


def test_frames_with_a_clock_of_their_own_are_kept_with_their_true_age(
    segmenter_with: Callable, suspension: Suspension
) -> None:
    camera = Piled()
    camera.clock = "sensor"
    with stream_of(segmenter_with(Echo()), camera, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        suspension.sleep(5)
        until(lambda: reported(stream, "stood still"))
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 10)
    assert camera.reopened == 0
    assert camera.delivered == stream.frames_in


@pytest.mark.parametrize("backend", [Echo, Overlapping])
def test_the_fallback_does_not_step_down_for_what_waited_while_the_process_stood_still(
    bundle: Bundle, suspension: Suspension, backend: Callable[[], Any]
) -> None:
    camera = Piled()
    camera.clock = "sensor"
    segmenters = [Segmenter(bundle, backend=backend()) for _ in range(2)]
    rules = FallbackRules(window=2, down_share=0.5, rest=2)
    with stream_of(segmenters, camera, deadline_ms=2000.0, fallback=rules, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        for _ in range(3):
            suspension.sleep(5)
            before = stream.frames_out
            until(lambda before=before: stream.frames_out > before + 5)  # type: ignore[misc]
        until(lambda: reported(stream, "stood still"))
        assert stream._loop._inference.level == 0
    assert not reported(stream, "deadlines were missed")


def test_a_camera_is_neither_frozen_nor_black_for_the_time_in_which_nobody_looked(
    segmenter_with: Callable, suspension: Suspension
) -> None:
    camera = Piled()
    camera.clock = "sensor"
    options = {"frozen_after_s": 3.0, "black_after_s": 3.0}
    with stream_of(segmenter_with(Echo()), camera, **options, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        camera.trouble = "freeze"
        until(lambda before=stream.frames_out: stream.frames_out > before + 2)  # type: ignore[misc]
        suspension.sleep(20)
        until(lambda before=stream.frames_out: stream.frames_out > before + 5)  # type: ignore[misc]
        camera.trouble = None
    assert not reported(stream, "same frame again")
