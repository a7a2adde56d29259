"""The stream: every frame accounted for, every failure told, outputs finished, nobody stuck."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_parts import Echo, Frames, Hanging, Record, check, stream_of

from danet_runtime import Segmenter, Stream
from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, SinkError, SourceError, SourceTruncatedError, UsageError
from danet_runtime.sinks.video import VideoSink
from danet_runtime.sources import open_source
from danet_runtime.stream.state.slots import Policy
from danet_runtime.timing import STAGES


def test_a_file_gives_every_frame_once_in_order_to_everyone(segmenter_with: Callable) -> None:
    sinks = [Record(), Record(pause_s=0.001)]
    source = Frames(300)
    seen = []
    with stream_of(segmenter_with(Echo()), source, sinks) as stream:
        assert stream.policy == "every"
        for result in stream:
            check(result)
            seen.append(result.frame_id)
    assert seen == sinks[0].ids == sinks[1].ids == list(range(300))
    assert [sink.closed for sink in sinks] == [1, 1]
    assert source.closed == 1
    report = stream.report()
    assert (report.frames_in, report.frames_out, report.frames_dropped, report.frames_unfinished) == (
        300,
        300,
        0,
        0,
    )
    assert (report.ending, report.error) == ("source ended", None)


def test_a_live_source_keeps_the_latest_and_counts_what_it_drops(segmenter_with: Callable) -> None:
    sink = Record()
    stream = stream_of(segmenter_with(Echo(pause_s=0.01)), Frames(100, live=True, pause_s=0.001), [sink])
    assert stream.policy == "latest"
    report = stream.run()
    assert report.frames_in == 100
    assert report.frames_dropped > 10
    assert report.frames_out == len(sink.ids) == 100 - report.frames_dropped
    assert sink.ids == sorted(set(sink.ids))
    assert sink.ids[-1] == 99
    assert report.frames_unfinished == 0


def test_a_slow_sink_of_a_live_source_drops_its_own_results_and_delays_nobody(
    segmenter_with: Callable,
) -> None:
    slow, quick = Record(pause_s=0.05), Record()
    ages = []
    with stream_of(segmenter_with(Echo()), Frames(200, live=True, pause_s=0.002), [slow, quick]) as stream:
        ages.extend(result.age_ms for result in stream)
    report = stream.report()
    dropped = {sink["written"]: sink["dropped"] for sink in report.cameras[0]["sinks"]}
    assert dropped[len(slow.ids)] > 100
    assert len(quick.ids) > 150
    assert report.frames_dropped < 50  # of inference
    assert np.median(ages) < 50


def test_the_policy_can_be_chosen(segmenter_with: Callable) -> None:
    live = stream_of(segmenter_with(Echo(0.002)), Frames(50, live=True), policy="every").run()
    assert (live.frames_out, live.policy) == (50, "every")
    file = stream_of(segmenter_with(Echo(0.01)), Frames(50), policy="latest").run()
    assert file.frames_dropped > 0
    with pytest.raises(UsageError, match="policy must be"):
        stream_of(segmenter_with(Echo()), Frames(1), policy="newest")  # type: ignore[arg-type]


def test_a_result_tells_its_age_and_where_its_time_went(segmenter_with: Callable) -> None:
    with stream_of(segmenter_with(Echo(pause_s=0.005)), Frames(5, pause_s=0.002)) as stream:
        for result in stream:
            assert result.stages_ms["inference"] >= 5
            assert result.stages_ms["capture"] >= 2
            assert result.age_ms >= result.stages_ms["inference"]
            assert set(result.stages_ms) == set(STAGES) - {"sink"}


def test_the_reports_parts_add_up_to_the_whole(segmenter_with: Callable) -> None:
    report = stream_of(segmenter_with(Echo(0.001)), Frames(30), [Record(0.002), Record(0.001)]).run()
    latency = report.latency
    parts = sum(stage.mean_ms for stage in latency.stages.values()) + latency.remainder.mean_ms
    assert parts == pytest.approx(latency.total.mean_ms)
    assert latency.remainder.mean_ms >= 0
    assert latency.stages["sink"].mean_ms >= 2
    assert report.fps == pytest.approx(30 / report.duration_s)


def test_the_frame_limit_ends_a_stream_in_order(segmenter_with: Callable) -> None:
    sink = Record()
    source = Frames(100)
    report = stream_of(segmenter_with(Echo()), source, [sink], max_frames=7).run()
    assert sink.ids == list(range(7))
    assert source.read == report.frames_in == 7
    assert report.ending == "frame limit"
    with pytest.raises(UsageError, match="max_frames must be at least 1"):
        stream_of(segmenter_with(Echo()), Frames(1), max_frames=0)


def test_a_source_that_breaks_off_loses_nothing_of_what_came_before(segmenter_with: Callable) -> None:
    sink = Record()
    source = Frames(20, error=SourceTruncatedError("20 of 40"))
    stream = stream_of(segmenter_with(Echo(0.001)), source, [sink])
    with pytest.raises(SourceTruncatedError, match="20 of 40"):
        stream.run()
    assert sink.ids == list(range(20))
    assert (sink.closed, source.closed) == (1, 1)
    report = stream.report()
    assert (report.ending, report.error, report.frames_out) == ("failed", "20 of 40", 20)


@pytest.mark.parametrize("policy", ["every", "latest"])
def test_a_failing_model_finishes_the_sinks_and_is_raised(segmenter_with: Callable, policy: Policy) -> None:
    sink = Record()
    source = Frames(10**6)
    stream = stream_of(segmenter_with(Echo(fail_at=5)), source, [sink], policy=policy)
    with pytest.raises(BackendError, match="the model broke"):
        stream.run()
    assert (sink.closed, source.closed) == (1, 1)
    report = stream.report()
    row = report.cameras[0]["sinks"][0]
    assert row["written"] + row["dropped"] == report.frames_out == 5
    if policy == "every":
        assert (sink.ids, report.frames_failed) == (list(range(5)), 0)
    else:
        assert report.frames_failed == 3  # so many in a row are a fault
        assert stream.health.state == "fault"
    counted = report.frames_out + report.frames_dropped + report.frames_failed
    assert report.frames_unfinished == report.frames_in - counted >= 0


def test_a_sink_of_a_file_that_fails_is_given_up_and_the_others_get_every_frame(
    segmenter_with: Callable,
) -> None:
    good, bad = Record(), Record(fail_at=3)
    stream = stream_of(segmenter_with(Echo()), Frames(50), [good, bad])
    with pytest.raises(SinkError, match="the disk is full"):
        stream.run()
    assert (len(bad.ids), good.ids) == (3, list(range(50)))
    assert [good.closed, bad.closed] == [1, 1]
    report = stream.report()
    assert report.frames_out == 50
    kept, lost = report.cameras[0]["sinks"]
    assert (kept["written"], kept["failed"], kept["given_up"]) == (50, 0, False)
    assert (lost["written"], lost["failed"], lost["given_up"]) == (3, 1, True)


def test_where_all_sinks_of_a_file_are_lost_the_stream_ends(segmenter_with: Callable) -> None:
    sinks = [Record(fail_at=3), Record(fail_at=5)]
    with pytest.raises(SinkError, match="the disk is full"):
        stream_of(segmenter_with(Echo()), Frames(10**6), sinks).run()
    assert [len(sink.ids) for sink in sinks] == [3, 5]


def test_a_failing_sink_ends_the_stream_though_the_source_gives_nothing_more(
    segmenter_with: Callable,
) -> None:
    source = Hanging(100, until=3)
    started = time.monotonic()
    with pytest.raises(SinkError, match="the disk is full"):
        stream_of(segmenter_with(Echo()), source, [Record(pause_s=0.05, fail_at=2)], grace_s=0.1).run()
    assert time.monotonic() - started < 5
    source.release.set()


def test_a_sink_that_cannot_finish_is_an_error(segmenter_with: Callable) -> None:
    with pytest.raises(SinkError, match="not whole"):
        stream_of(segmenter_with(Echo()), Frames(3), [Record(), Record(fails_in="close")]).run()


def test_a_sink_that_cannot_open_starts_nothing(segmenter_with: Callable) -> None:
    good, source, echo = Record(), Frames(3), Echo()
    with pytest.raises(SinkError, match="no place"):
        stream_of(segmenter_with(echo), source, [good, Record(fails_in="open")]).run()
    assert (good.opened, good.closed, source.closed, source.read, echo.calls) == (1, 1, 1, 0, 0)


def test_leaving_early_finishes_what_was_captured(segmenter_with: Callable) -> None:
    sink, source = Record(), Frames(10**6)
    with stream_of(segmenter_with(Echo()), source, [sink]) as stream:
        for result in stream:
            if result.frame_id == 10:
                break
    assert sink.ids == list(range(len(sink.ids)))
    assert len(sink.ids) >= 11
    assert (sink.closed, source.closed) == (1, 1)
    assert stream.report().ending == "stopped"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_of_the_caller_is_the_one_that_is_raised(
    segmenter_with: Callable, error: type[BaseException]
) -> None:
    sink = Record(fails_in="close")
    stream = stream_of(segmenter_with(Echo()), Frames(10**6), [sink])
    with pytest.raises(error), stream:  # noqa: PT012
        for _ in stream:
            raise error
    assert sink.closed == 1


def test_stop_from_another_thread_ends_the_loop(segmenter_with: Callable) -> None:
    with stream_of(segmenter_with(Echo()), Frames(10**6, pause_s=0.001), [Record()]) as stream:
        threading.Timer(0.05, stream.stop).start()
        seen = sum(1 for _ in stream)
    assert 0 < seen < 10**6
    assert stream.report().ending == "stopped"


def test_a_stream_that_never_runs_closes_its_source(segmenter_with: Callable) -> None:
    source, sink = Frames(3), Record()
    stream = stream_of(segmenter_with(Echo()), source, [sink])
    stream.close()
    stream.close()
    assert (source.closed, sink.opened) == (1, 0)
    assert stream.report().frames_out == 0


def test_a_source_that_never_returns_is_given_up(
    segmenter_with: Callable,
) -> None:
    sink, source = Record(), Hanging(100, until=3)
    stream = stream_of(segmenter_with(Echo()), source, [sink], grace_s=0.1)
    with pytest.raises(SourceError, match="did not return"), stream:  # noqa: PT012
        for result in stream:
            if result.frame_id == 2:
                break
    assert sink.ids == [0, 1, 2]
    assert (sink.closed, source.closed) == (1, 0)
    source.release.set()


pauses = st.sampled_from((0.0, 0.0005, 0.002))
failures = st.none() | st.integers(0, 12)


@dataclass(frozen=True)
class Schedule:
    """What happens in a stream."""

    policy: Policy
    count: int
    source_pause: float
    source_fails: bool
    model_pause: float
    model_fails: int | None
    sink_plans: list[tuple[float, int | None]]
    leave_at: int | None


schedules = st.builds(
    Schedule,
    policy=st.sampled_from(("every", "latest")),
    count=st.integers(0, 15),
    source_pause=pauses,
    source_fails=st.booleans(),
    model_pause=pauses,
    model_fails=failures,
    sink_plans=st.lists(st.tuples(pauses, failures), max_size=3),
    leave_at=st.none() | st.integers(0, 15),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=schedules)
def test_under_any_schedule_it_ends_with_sinks_finished_and_frames_accounted_for(
    segmenter_with: Callable, schedule: Schedule
) -> None:
    error = SourceError("broken") if schedule.source_fails else None
    source = Frames(schedule.count, pause_s=schedule.source_pause, error=error)
    sinks = [Record(pause, fail_at) for pause, fail_at in schedule.sink_plans]
    segmenter = segmenter_with(Echo(schedule.model_pause, schedule.model_fails))
    stream = stream_of(segmenter, source, sinks, policy=schedule.policy)
    seen = []
    raised = False
    try:
        with stream:
            for result in stream:
                check(result)
                seen.append(result.frame_id)
                if result.frame_id == schedule.leave_at:
                    break
    except (SourceError, BackendError, SinkError):
        raised = True
    report = stream.report()
    assert [sink.closed for sink in sinks] == [1] * len(sinks)
    assert source.closed == 1
    assert raised == (report.ending == "failed")
    assert report.frames_in == source.read
    assert 0 <= report.frames_unfinished <= report.frames_in
    for ids in (seen, *(sink.ids for sink in sinks)):
        assert ids == sorted(set(ids))
        if schedule.policy == "every":
            assert ids == list(range(len(ids)))
    for sink, row in zip(sinks, report.cameras[0]["sinks"], strict=True):
        assert row["written"] == len(sink.ids)
        assert row["written"] + row["dropped"] + row["failed"] <= report.frames_in
    if not raised and schedule.leave_at is None:
        assert report.frames_unfinished == 0
        lost = report.frames_dropped + report.frames_failed
        assert report.frames_out == schedule.count - lost >= len(seen)
        assert schedule.policy == "latest" or len(seen) == schedule.count


def test_no_array_is_allocated_per_frame_where_results_are_not_copied(segmenter_with: Callable) -> None:
    buffers = set()
    with stream_of(segmenter_with(Echo()), Frames(200), [Record()], copy=False) as stream:
        for result in stream:
            buffers.add((result.frame.ctypes.data, result.labels.ctypes.data))
    assert len(buffers) <= 6


def test_a_video_goes_through_the_real_model_frame_by_frame(
    bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path], video_reader: Callable
) -> None:
    path = video_maker(tmp_path / "in.mp4", 20, (96, 128))
    frames, _ = video_reader(path)
    with Segmenter(bundle) as segmenter, Segmenter(bundle) as direct:
        with Stream(segmenter, open_source(path), [VideoSink(tmp_path / "out.mp4")]) as stream:
            for result in stream:
                np.testing.assert_array_equal(result.frame, frames[result.frame_id])
                np.testing.assert_array_equal(result.labels, direct.labels_of(result.frame))
        assert stream.report().frames_out == 20
    overlay, fps = video_reader(tmp_path / "out.mp4")
    assert (len(overlay), overlay[0].shape, fps) == (20, (96, 128, 3), 25.0)
