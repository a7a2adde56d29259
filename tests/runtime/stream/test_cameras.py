"""Several cameras through one model, deadlines, and the step to a faster model."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from stream_parts import Camera, Echo, Frames, Record, check, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.stream.state.fallback import FallbackRules


def test_cameras_share_the_model_in_turn_and_every_result_says_whose_it_is(segmenter_with: Callable) -> None:
    cameras = {
        name: Camera(every_s) for name, every_s in (("front", 0.001), ("left", 0.002), ("rear", 0.004))
    }
    sinks = {name: [Record()] for name in cameras}
    seen: Counter[str] = Counter()
    with stream_of(segmenter_with(Echo(pause_s=0.01)), cameras, sinks) as stream:
        for result in stream:
            check(result)
            seen[result.source] += 1
            if seen.total() == 120:
                break
    assert set(seen) == set(cameras)
    assert max(seen.values()) - min(seen.values()) <= 4  # though their rates differ by four
    report = stream.report()
    for camera in report.cameras:
        frames = camera["frames"]
        assert frames["in"] == sum(count for key, count in frames.items() if key != "in")
        assert sinks[camera["name"]][0].ids == sorted(set(sinks[camera["name"]][0].ids))
    assert report.frames_in == sum(camera["frames"]["in"] for camera in report.cameras)


def test_files_side_by_side_lose_nothing(segmenter_with: Callable) -> None:
    sources = {"a": Frames(30), "b": Frames(50)}
    seen = {"a": [], "b": []}  # type: dict[str, list[int]]
    for result in stream_of(segmenter_with(Echo()), sources):
        seen[result.source].append(result.frame_id)
    assert seen == {"a": list(range(30)), "b": list(range(50))}


def test_a_camera_that_fails_leaves_the_others_running_and_is_raised_at_the_end(
    segmenter_with: Callable,
) -> None:
    sources = {"broken": Frames(3, error=SourceError("no signal")), "good": Frames(40)}
    seen: Counter[str] = Counter()
    stream = stream_of(segmenter_with(Echo()), sources)
    with pytest.raises(SourceError, match="no signal"):  # noqa: PT012
        for result in stream:
            seen[result.source] += 1
    assert seen == {"broken": 3, "good": 40}


def test_sinks_for_a_camera_that_is_not_there_are_refused(segmenter_with: Callable) -> None:
    with pytest.raises(UsageError, match=r"\['rear'\], but cameras only \['front'\]"):
        stream_of(segmenter_with(Echo()), {"front": Frames(1)}, {"rear": [Record()]})
    with stream_of(segmenter_with(Echo()), {"front": Frames(1)}) as stream:
        with pytest.raises(UsageError, match="no camera 'rear', only front"):
            stream.latest(100, "rear")
        for _ in stream:
            pass


def test_late_results_are_marked_or_dropped_as_asked(segmenter_with: Callable) -> None:
    source = Frames(20)
    verdicts = [
        result.late for result in stream_of(segmenter_with(Echo(pause_s=0.01)), source, deadline_ms=5)
    ]
    assert verdicts == [True] * 20
    in_time = stream_of(segmenter_with(Echo()), Frames(20), deadline_ms=5000)
    assert [result.late for result in in_time] == [False] * 20
    dropping = stream_of(
        segmenter_with(Echo(pause_s=0.01)), Frames(20), [Record()], deadline_ms=5, late="drop"
    )
    assert list(dropping) == []
    report = dropping.report()
    assert (report.frames_late, report.frames_late_dropped, report.frames_out) == (20, 20, 0)
    without = stream_of(segmenter_with(Echo()), Frames(3))
    assert [result.late for result in without] == [None] * 3


def test_sustained_misses_step_to_the_faster_model_and_room_steps_back(segmenter_with: Callable) -> None:
    slow, fast = Echo(), Echo()
    rules = FallbackRules(window=5, rest=10)
    segmenters = [segmenter_with(slow), segmenter_with(fast)]
    with stream_of(segmenters, Camera(0.002), deadline_ms=20, fallback=rules) as stream:
        until(lambda: stream.health.state == "ready" and slow.calls > 10)
        assert fast.calls == 0
        slow.pause_s = 0.03
        until(lambda: fast.calls > 10)
        assert "level 1 of 2" in stream.health.reasons[0]
        slow.pause_s = 0.0
        calls = slow.calls
        until(lambda: slow.calls > calls + 5)
        until(lambda: stream.health.state == "ready")


def test_several_models_need_a_deadline_and_the_same_classes(
    segmenter_with: Callable, bundle_maker: Callable, tmp_path: object
) -> None:
    both = [segmenter_with(Echo()), segmenter_with(Echo())]
    with pytest.raises(UsageError, match="need a deadline"):
        stream_of(both, Frames(1))
    other: Segmenter = both[1]
    other.classes = other.classes[:-1]
    with pytest.raises(UsageError, match="same classes"):
        stream_of(both, Frames(1), deadline_ms=10)


def test_stopping_takes_no_longer_than_a_frame(segmenter_with: Callable) -> None:
    with stream_of(segmenter_with(Echo()), {"a": Camera(), "b": Camera()}) as stream:
        until(lambda: stream.frames_out > 5)
        started = time.monotonic()
    assert time.monotonic() - started < 0.5
