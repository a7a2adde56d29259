"""The stream says what is: no camera is ready whose masks are missing, old or late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from stream_parts import Camera, Echo, Frames, Record, stream_of, until

from danet_runtime.errors import SinkError, SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.sources import FrameInfo

QUICK = {"watch_every_s": 0.01, "stale_after_s": 0.1, "jump_shown_s": 0.2}


def test_a_stream_that_drops_every_result_as_late_is_stale(segmenter_with: Callable) -> None:
    options = {"deadline_ms": 1.0, "late": "drop", **QUICK}
    with stream_of(segmenter_with(Echo(0.01)), Camera(0.01), **options) as stream:
        until(lambda: stream.health.state == "stale")
        assert stream.latest(max_age_ms=1e9) is None
    assert stream.report().frames_late_dropped > 3


class Shifted(Camera):
    """A camera whose clock says something else from some frame on."""

    shift_s = 0.0

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        info = super().read_into(buffer)
        if info is None:
            return None
        return replace(info, capture_time_ns=info.capture_time_ns + int(self.shift_s * 1e9), clock="stream")


@pytest.mark.parametrize(("shift_s", "state"), [(-3600, "stale"), (3600, "degraded")])
def test_a_camera_whose_clock_is_an_hour_off_is_not_ready_for_as_long_as_it_is(
    segmenter_with: Callable, shift_s: float, state: str
) -> None:
    camera = Shifted()
    with stream_of(segmenter_with(Echo()), camera, **QUICK) as stream:
        until(lambda: stream.health.state == "ready" and stream.frames_out > 10)
        camera.shift_s = shift_s
        until(lambda: stream.health.state == state)
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 20)
        assert stream.health.state == state
        camera.shift_s = 0
        until(lambda: stream.health.state == "ready")


def test_a_lost_camera_has_longer_to_be_opened_than_to_give_a_frame(segmenter_with: Callable) -> None:
    class Slow(Camera):
        cut_short = 0

        def reopen(self) -> None:
            if self._interrupted.wait(0.3):
                self.cut_short += 1
                raise SourceError("interrupted")
            super().reopen()

    camera = Slow()
    options = {"source_timeout_s": 0.05, "reconnect_first_s": 0.01, **QUICK}
    with stream_of(segmenter_with(Echo()), camera, **options) as stream:
        until(lambda: stream.frames_out > 5)
        camera.trouble = "die"
        until(lambda: camera.reopened > 0)  # a busy machine may miss its short time for a frame again
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 5)
        assert camera.cut_short == 0


def test_the_report_says_why_a_camera_was_lost_and_not_that_its_opening_was_cut_short_at_the_end(
    segmenter_with: Callable,
) -> None:
    class Mute(Camera):
        def reopen(self) -> None:
            self.reopened += 1
            self._interrupted.wait(20)
            raise SourceError("interrupted")

    camera = Mute()
    with stream_of(segmenter_with(Echo()), camera, reconnect_first_s=0.01, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        camera.trouble = "die"
        until(lambda: camera.reopened == 1)
    assert "source is lost: unplugged" in stream.report().health["reasons"]


def test_a_camera_that_died_is_lost_while_the_others_go_on(segmenter_with: Callable) -> None:
    front = Frames(5, live=True, pause_s=0.005, error=SourceError("front is gone"))
    stream = stream_of(segmenter_with(Echo()), {"front": front, "rear": Camera()}, **QUICK)
    with pytest.raises(SourceError, match="front is gone"), stream:  # noqa: PT012
        until(lambda: stream.health.state == "stale")
        assert stream.health.reasons == ("front is lost: front is gone",)
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 10)
        assert stream.health.state == "stale"


def test_a_lost_output_of_a_file_ends_no_camera(segmenter_with: Callable) -> None:
    sinks = {"file": [Record(fail_at=3)], "front": [good := Record()]}
    stream = stream_of(segmenter_with(Echo()), {"file": Frames(10**6), "front": Camera()}, sinks)
    with pytest.raises(SinkError, match="the disk is full"), stream:  # noqa: PT012
        for result in stream:
            if result.source == "front" and result.frame_id > 100:
                break
    assert len(good.ids) > 50
    assert stream.report().cameras[0]["frames"]["in"] < 50


def test_ids_have_a_gap_where_a_camera_was_lost(segmenter_with: Callable) -> None:
    camera, sink = Camera(), Record()
    with stream_of(segmenter_with(Echo()), camera, [sink], reconnect_first_s=0.01) as stream:
        until(lambda: stream.frames_out > 5)
        camera.trouble = "die"
        until(lambda: camera.reopened == 1)
        last = max(sink.ids)
        until(lambda: sink.ids[-1] > last + 5)
    read = set(range(camera._total)) - set(sink.ids)
    assert read  # at least one id stands for what was lost
    assert stream.report().cameras[0]["frames"]["in"] == camera._total - 1


def test_a_camera_that_opens_and_dies_is_opened_less_and_less_often(segmenter_with: Callable) -> None:
    class Brief(Camera):
        def reopen(self) -> None:
            super().reopen()
            times.append(time.monotonic())
            self.trouble = "die"

    times: list[float] = []
    camera = Brief()
    camera.trouble = "die"
    options = {"reconnect_first_s": 0.01, "reconnect_most_s": 0.4, "stale_after_s": 10.0}
    with stream_of(segmenter_with(Echo()), camera, **options):
        until(lambda: len(times) >= 6)
    # Doubled each time, less a half at most: 0.01, 0.02, ... 0.32 s.
    assert times[5] - times[4] > 4 * 0.01


def test_a_result_is_late_by_its_age_when_it_is_taken(segmenter_with: Callable) -> None:
    with stream_of(segmenter_with(Echo()), Frames(6), policy="every", deadline_ms=60) as stream:
        results = iter(stream)
        first = next(results)
        assert (first.late, first.age_ms < 60) == (False, True)
        time.sleep(0.15)  # the next ones wait for the caller meanwhile
        second = next(results)
        assert (second.late, second.age_ms > 60) == (True, True)


def test_the_latency_of_a_camera_holds_no_wait_for_its_next_frame(segmenter_with: Callable) -> None:
    report = stream_of(segmenter_with(Echo(0.002)), Frames(15, live=True, pause_s=0.05)).run()
    assert report.latency.total.p50_ms < 30
