"""Things that go wrong on the road: noticed in time, said with a reason, mended where that is possible."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from stream_parts import Camera, Echo, Frames, Record, reported, stream_of, until

from danet_runtime import Segmenter, Stream
from danet_runtime.bundle import Bundle
from danet_runtime.errors import AgreementError, BackendError, FaultError, SinkError, SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.result import Result

QUICK = {"reconnect_first_s": 0.01, "source_timeout_s": 0.1, "watch_every_s": 0.01, "stale_after_s": 0.08}


def states(stream: Stream) -> list[str]:
    return [event.state for event in stream.health.events]


class Flaky(Echo):
    """A backend that fails or hangs when told so."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.error: Exception = BackendError("it broke")
        self.hang = threading.Event()
        self.hang.set()

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.hang.wait(20)
        if self.failures:
            self.failures -= 1
            raise self.error
        super().infer(frame, labels)


def test_a_camera_that_dies_and_comes_back_goes_on_with_growing_ids(segmenter_with: Callable) -> None:
    camera, sink = Camera(), Record()
    camera.refuse = 2
    with stream_of(segmenter_with(Echo()), camera, [sink], **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        before = stream.frames_in
        camera.trouble = "die"
        until(lambda: camera.reopened == 3 and stream.frames_in > before + 10)
        until(lambda: stream.health.state == "ready")
    assert sink.ids == sorted(set(sink.ids))
    assert "stale" in states(stream)
    assert reported(stream, "lost: unplugged")
    assert reported(stream, "lost: still unplugged")
    report = stream.report()
    assert (report.cameras[0]["reconnects"], report.ending, report.error) == (1, "stopped", None)


def test_a_camera_that_is_lost_for_too_long_ends_the_stream_where_that_is_asked(
    segmenter_with: Callable,
) -> None:
    camera, sink = Camera(), Record()
    camera.refuse = 10**6
    stream = stream_of(segmenter_with(Echo()), camera, [sink], give_up_after_s=0.1, **QUICK)
    with pytest.raises(SourceError, match="still unplugged"), stream:  # noqa: PT012
        until(lambda: stream.frames_out > 5)
        camera.trouble = "die"
        for _ in stream:
            pass
    assert sink.closed == 1


def test_a_camera_that_hangs_is_noticed_interrupted_and_opened_again(segmenter_with: Callable) -> None:
    camera = Camera()
    with stream_of(segmenter_with(Echo()), camera, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        camera.trouble = "hang"
        until(lambda: camera.reopened == 1)
        until(lambda: stream.health.state == "ready")
    assert reported(stream, "source has given no frame for 0.1 s")
    assert reported(stream, "no mask that is younger than 0.08 s")


@pytest.mark.parametrize(
    ("trouble", "words"),
    [("freeze", "same frame again"), ("black", "black frames"), ("clock", "capture times cannot be trusted")],
)
def test_frames_that_arrive_and_show_nothing_degrade_and_say_why(
    segmenter_with: Callable, trouble: str, words: str
) -> None:
    camera = Camera()
    options = {"frozen_after_s": 0.05, "black_after_s": 0.05, "jump_shown_s": 0.1}
    with stream_of(segmenter_with(Echo()), camera, **options) as stream:
        until(lambda: stream.health.state == "ready" and stream.frames_out > 10)
        camera.trouble = trouble
        until(lambda: reported(stream, words))
        assert "degraded" in states(stream)
        camera.trouble = None
        until(lambda: stream.health.state == "ready")
    if trouble != "clock":  # by a clock that falls back masks may be old as well
        assert "stale" not in states(stream)


def test_an_inference_that_fails_once_costs_one_frame(segmenter_with: Callable) -> None:
    backend = Flaky()
    with stream_of(segmenter_with(backend), Camera()) as stream:
        until(lambda: stream.frames_out > 5)
        backend.failures = 1
        until(lambda: stream.report().frames_failed == 1)
        until(lambda: stream.health.state == "ready")
    assert reported(stream, "inference fails: it broke")
    assert stream.report().error is None


@pytest.mark.parametrize("final", [False, True])
def test_an_inference_that_always_fails_or_lost_its_gpu_is_a_fault_with_its_exit_code(
    segmenter_with: Callable, final: bool
) -> None:
    backend, sink = Flaky(), Record()
    stream = stream_of(segmenter_with(backend), Camera(), [sink])
    with pytest.raises(FaultError, match="it broke") as raised, stream:  # noqa: PT012
        until(lambda: stream.frames_out > 5)
        backend.error = FaultError("it broke for good") if final else BackendError("it broke")
        backend.failures = 10**9
        for _ in stream:
            pass
    assert raised.value.exit_code == 3
    assert stream.health.state == "fault"
    assert stream.report().frames_failed == (0 if final else 3)
    assert sink.closed == 1


def test_an_inference_that_hangs_is_a_fault_and_the_outputs_are_finished(segmenter_with: Callable) -> None:
    backend, sink = Flaky(), Record()
    stream = stream_of(
        segmenter_with(backend), Camera(), [sink], inference_timeout_s=0.1, grace_s=0.2, watch_every_s=0.01
    )
    started = time.monotonic()
    with pytest.raises(FaultError, match=r"not returned for 0\.1 s"), stream:  # noqa: PT012
        until(lambda: stream.frames_out > 5)
        backend.hang.clear()
        for _ in stream:
            pass
    assert time.monotonic() - started < 5
    assert (sink.closed, stream.health.state) == (1, "fault")
    backend.hang.set()


@pytest.mark.parametrize("part", ["capture", "inference"])
def test_a_killed_thread_ends_the_stream_and_says_which(segmenter_with: Callable, part: str) -> None:
    camera, backend, sink = Camera(), Echo(), Record()
    stream = stream_of(segmenter_with(backend), camera, [sink])
    words = f"the {part} thread .*was ended by SystemExit"
    with pytest.raises((FaultError, SourceError), match=words), stream:  # noqa: PT012
        until(lambda: stream.frames_out > 5)
        (camera if part == "capture" else backend).snare.kill()
        for _ in stream:
            pass
    assert sink.closed == 1


def test_a_killed_sink_thread_is_told_and_the_stream_goes_on(segmenter_with: Callable) -> None:
    sink = Record()
    stream = stream_of(segmenter_with(Echo()), Camera(), [sink])
    with pytest.raises(SinkError, match="was ended by SystemExit"), stream:  # noqa: PT012
        until(lambda: stream.frames_out > 5)
        sink.snare.kill()
        until(lambda: reported(stream, "its thread was ended"))
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 5)
    assert sink.closed == 1


def test_a_sink_of_a_live_source_that_raises_now_and_then_stays_and_is_counted(
    segmenter_with: Callable,
) -> None:
    class Moody(Record):
        def write(self, result: Result) -> None:
            if result.frame_id % 3 == 0:
                raise ValueError("not this one")
            super().write(result)

    sink = Moody()
    with stream_of(segmenter_with(Echo()), Camera(), [sink]) as stream:
        until(lambda: len(sink.ids) > 10)
    row = stream.report().cameras[0]["sinks"][0]
    assert row["failed"] > 2
    assert not row["given_up"]
    assert reported(stream, "source.record fails: not this one")
    assert stream.report().error is None


def test_a_sink_of_a_live_source_that_always_fails_is_given_up_and_the_stream_goes_on(
    segmenter_with: Callable,
) -> None:
    bad, good = Record(fail_at=0), Record()
    stream = stream_of(segmenter_with(Echo()), Camera(), [bad, good], sink_failures=4)
    with pytest.raises(SinkError, match="the disk is full"), stream:  # noqa: PT012
        until(lambda: stream.report().cameras[0]["sinks"][0]["given_up"])
        before = len(good.ids)
        until(lambda: len(good.ids) > before + 10)
    assert stream.report().cameras[0]["sinks"][0]["failed"] == 4
    assert (bad.closed, good.closed) == (1, 1)


def test_a_sink_that_hangs_degrades_and_does_not_hold_up_the_end(segmenter_with: Callable) -> None:
    release = threading.Event()

    class Hanging(Record):
        def write(self, result: Result) -> None:
            release.wait(20)

    good = Record()
    stream = stream_of(
        segmenter_with(Echo()),
        Camera(),
        [Hanging(), good],
        sink_timeout_s=0.05,
        grace_s=0.2,
        watch_every_s=0.01,
    )
    with pytest.raises(SinkError, match="did not finish"), stream:  # noqa: PT012
        until(lambda: reported(stream, "busy for more than 0.05 s"))
        until(lambda: len(good.ids) > 10)
    assert good.closed == 1
    release.set()


def test_a_jump_of_the_wall_clock_degrades_for_a_while(
    segmenter_with: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time_ns
    with stream_of(segmenter_with(Echo()), Camera(), watch_every_s=0.01) as stream:
        until(lambda: stream.health.state == "ready")
        monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)
        until(lambda: reported(stream, "the wall clock jumped by +3600.0 s"))


def test_wrong_golden_labels_are_a_fault_before_any_frame_is_delivered(
    bundle: Bundle, segmenter_with: Callable
) -> None:
    seen: list[Any] = []
    stream = Stream(segmenter_with(Echo()), Camera())
    with pytest.raises(AgreementError, match="golden frame's labels"), stream:
        seen.extend(stream)
    assert (seen, states(stream)) == ([], ["fault"])
    with Segmenter(bundle) as segmenter, Stream(segmenter, Frames(3)) as stream:
        seen.extend(result.health for result in stream)
    assert seen == ["ready"] * 3


def test_an_old_mask_is_not_given_out(segmenter_with: Callable) -> None:
    camera = Camera()
    with stream_of(segmenter_with(Echo()), camera, **QUICK) as stream:
        until(lambda: stream.latest(max_age_ms=1000) is not None)
        fresh = stream.latest(max_age_ms=1000)
        assert fresh is not None
        kept = fresh.labels.copy()
        until(lambda: stream.frames_out > 50)
        np.testing.assert_array_equal(fresh.labels, kept)  # the copy is the caller's
        camera.trouble = "hang"
        until(lambda: stream.latest(max_age_ms=30) is None)
