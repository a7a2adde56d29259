"""A backend that overlaps: the stream keeps it busy, in order, and counts every frame."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_parts import HW, Camera, Echo, Frames, Overlapping, Record, check, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.backends.base import PipelinedBackend
from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, FaultError
from danet_runtime.stream.state.fallback import FallbackRules
from danet_runtime.stream.state.slots import Policy

STAGES_S = (0.005, 0.010, 0.005)


def test_the_protocol_tells_who_overlaps(segmenter_with: Callable) -> None:
    assert isinstance(Overlapping(), PipelinedBackend)
    one_by_one = segmenter_with(Echo())
    assert segmenter_with(Overlapping(depth=3)).depth == 3
    with pytest.raises(BackendError, match="takes one frame after the other"):
        one_by_one.submit(np.zeros((*HW, 3), np.uint8), np.zeros(HW, np.uint8))


def test_frames_are_under_way_together_and_come_in_order_with_honest_times(
    segmenter_with: Callable,
) -> None:
    frames = 60
    backend, sink = Overlapping(STAGES_S, depth=3), Record()
    ids, ages, stages = [], [], []
    for result in stream_of(segmenter_with(backend), Frames(frames), [sink]):
        check(result)
        ids.append(result.frame_id)
        ages.append(result.age_ms)
        stages.append(result.stages_ms["inference"])
    assert ids == sink.ids == list(range(frames))
    assert backend.most_under_way == 3
    # No result is younger than its way through the stages, and inference is a part of the age.
    assert min(ages) >= 20
    assert min(stages) >= 19
    assert all(age >= stage for age, stage in zip(ages, stages, strict=True))


def test_a_frame_of_another_size_has_its_own_buffer_for_as_long_as_it_is_under_way(bundle: Bundle) -> None:
    backend = Overlapping((0.002, 0.004, 0.002), depth=3)
    with Segmenter(bundle, backend=backend) as segmenter:
        pictures = [np.full((96, 128, 3), number, np.uint8) for number in range(3)]
        for _ in range(2):
            flying = [segmenter.submit(picture, np.empty((96, 128), np.uint8)) for picture in pictures]
            for number, submission in enumerate(flying):
                times, device = segmenter.collect(submission)
                assert (submission.labels == number).all()
                assert device == (2, 4, 2)
                assert times.inference_ns > 7e6
                assert times.preprocess_ns > 0
                assert times.postprocess_ns > 0


def test_a_live_source_gets_the_newest_frame_at_the_moment_when_there_is_room(
    segmenter_with: Callable,
) -> None:
    backend, sink = Overlapping(STAGES_S), Record()
    ages = []
    with stream_of(segmenter_with(backend), Camera(0.003), [sink]) as stream:
        for result in stream:
            ages.append(result.age_ms)
            if len(ages) == 40:
                break
    assert stream.report().frames_dropped > 40
    # Two frames under way of 20 ms each way through, and a frame's wait for the source.
    assert np.median(ages) < 40


def test_cameras_still_have_their_turn(segmenter_with: Callable) -> None:
    cameras = {name: Camera(every_s) for name, every_s in (("a", 0.001), ("b", 0.002), ("c", 0.004))}
    seen: Counter[str] = Counter()
    with stream_of(segmenter_with(Overlapping((0.002, 0.008, 0.002))), cameras) as stream:
        for result in stream:
            check(result)
            seen[result.source] += 1
            if seen.total() == 90:
                break
    assert max(seen.values()) - min(seen.values()) <= 6


def test_stopping_delivers_what_is_under_way(segmenter_with: Callable) -> None:
    backend, sink = Overlapping((0.01, 0.03, 0.01), depth=3), Record()
    stream = stream_of(segmenter_with(backend), Frames(10**6), [sink])
    stream.start()
    until(lambda: backend.under_way == 3)
    stream.stop()
    seen = [result.frame_id for result in stream]
    assert backend.under_way == 0
    report = stream.report()
    assert report.ending == "stopped"
    assert report.frames_unfinished <= 1  # the one that capture had in its hands
    assert sink.ids == seen == list(range(report.frames_in - report.frames_unfinished))
    assert len(sink.ids) >= 3


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_a_failed_frame_of_a_camera_costs_that_frame_alone(segmenter_with: Callable, where: str) -> None:
    backend, sink = Overlapping((0.001, 0.003, 0.001)), Record()
    (backend.fail_submits if where == "submit" else backend.fail_collects).update((4, 5, 9))
    with stream_of(segmenter_with(backend), Camera(), [sink]) as stream:
        until(lambda: stream.report().frames_failed == 3 and stream.frames_out > 12)
        until(lambda: stream.health.state == "ready")
    assert stream.report().error is None
    assert sink.ids == sorted(set(sink.ids))


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_the_first_failure_of_a_file_ends_it_after_the_frames_before(
    segmenter_with: Callable, where: str
) -> None:
    backend, sink = Overlapping((0.001, 0.003, 0.001), depth=3), Record()
    (backend.fail_submits if where == "submit" else backend.fail_collects).add(5)
    segmenter = segmenter_with(backend)
    with pytest.raises(BackendError, match="the model broke"):
        stream_of(segmenter, Frames(10**6), [sink]).run()
    assert sink.ids == list(range(5))
    assert backend.under_way == 0  # the segmenter is the caller's, who may go on with it
    assert len(list(stream_of(segmenter, Frames(20)))) == 20


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_a_lost_gpu_is_a_fault_at_once_and_what_was_under_way_is_unfinished(
    segmenter_with: Callable, where: str
) -> None:
    backend, sink = Overlapping((0.001, 0.003, 0.001), depth=3), Record()
    backend.error = FaultError("the GPU is lost")
    (backend.fail_submits if where == "submit" else backend.fail_collects).update(range(8, 10**4))
    stream = stream_of(segmenter_with(backend), Camera(), [sink])
    with pytest.raises(FaultError, match="the GPU is lost") as raised:
        stream.run()
    assert raised.value.exit_code == 3
    report = stream.report()
    assert (stream.health.state, report.frames_out, report.frames_failed) == ("fault", 8, 0)
    assert report.frames_unfinished >= 1
    counted = report.frames_out + report.frames_dropped + report.frames_failed + report.frames_unfinished
    assert report.frames_in == counted
    assert (sink.closed, len(sink.ids) <= 8) == (1, True)


def test_many_failures_in_a_row_are_a_fault(segmenter_with: Callable) -> None:
    backend = Overlapping()
    backend.fail_collects.update(range(5, 10**4))
    stream = stream_of(segmenter_with(backend), Camera())
    with pytest.raises(FaultError, match="failed 3 times in a row"):
        stream.run()
    assert stream.report().frames_failed == 3


def test_a_hang_is_noticed_and_the_outputs_are_finished(segmenter_with: Callable) -> None:
    backend, sink = Overlapping((0.0, 0.002, 0.0)), Record()
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


def test_waiting_for_a_camera_is_not_taken_for_a_hang(segmenter_with: Callable) -> None:
    backend = Overlapping((0.0, 0.002, 0.0))
    options = {"inference_timeout_s": 0.05, "watch_every_s": 0.01}
    with stream_of(segmenter_with(backend), Camera(0.2, count=3), **options) as stream:
        until(lambda: stream.frames_out >= 3)
    assert stream.health.state != "fault"


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_a_killed_thread_ends_the_stream(segmenter_with: Callable, where: str) -> None:
    backend, sink = Overlapping(), Record()
    stream = stream_of(segmenter_with(backend), Camera(), [sink])
    with pytest.raises(FaultError, match="was ended by SystemExit"), stream:  # noqa: PT012
        until(lambda: stream.frames_out > 5)
        (backend.submit_snare if where == "submit" else backend.snare).kill()
        for _ in stream:
            pass
    assert sink.closed == 1


def test_the_fallback_steps_while_frames_are_under_way(segmenter_with: Callable) -> None:
    slow, fast = Overlapping((0.0, 0.03, 0.0)), Overlapping((0.0, 0.001, 0.0))
    rules = FallbackRules(window=5, rest=1000)
    with stream_of(
        [segmenter_with(slow), segmenter_with(fast)], Camera(0.002), deadline_ms=20, fallback=rules
    ) as stream:
        seen = []
        for result in stream:
            check(result)
            seen.append(result.frame_id)
            if fast.calls > 20:
                break
    assert all(earlier < later for earlier, later in pairwise(seen))


pauses = st.sampled_from((0.0, 0.0005, 0.002))


@dataclass(frozen=True)
class Schedule:
    """What happens in a stream."""

    policy: Policy
    count: int
    source_pause: float
    stages: tuple[float, float, float]
    depth: int
    fail_submits: set[int]
    fail_collects: set[int]
    final: bool
    sink_pauses: list[float]
    leave_at: int | None


schedules = st.builds(
    Schedule,
    policy=st.sampled_from(("every", "latest")),
    count=st.integers(0, 15),
    source_pause=pauses,
    stages=st.tuples(pauses, pauses, pauses),
    depth=st.integers(1, 4),
    fail_submits=st.sets(st.integers(0, 12), max_size=2),
    fail_collects=st.sets(st.integers(0, 12), max_size=2),
    final=st.booleans(),
    sink_pauses=st.lists(pauses, max_size=2),
    leave_at=st.none() | st.integers(0, 15),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=schedules)
def test_under_any_schedule_every_frame_is_counted_once(segmenter_with: Callable, schedule: Schedule) -> None:
    backend = Overlapping(schedule.stages, schedule.depth)
    backend.fail_submits, backend.fail_collects = schedule.fail_submits, schedule.fail_collects
    if schedule.final:
        backend.error = FaultError("the GPU is lost")
    source = Frames(schedule.count, pause_s=schedule.source_pause)
    sinks = [Record(pause) for pause in schedule.sink_pauses]
    stream = stream_of(segmenter_with(backend), source, sinks, policy=schedule.policy)
    seen, raised = [], False
    try:
        with stream:
            for result in stream:
                check(result)
                seen.append(result.frame_id)
                if result.frame_id == schedule.leave_at:
                    break
    except BackendError:
        raised = True
    report = stream.report()
    assert backend.under_way == 0
    assert [sink.closed for sink in sinks] == [1] * len(sinks)
    assert raised == (report.ending == "failed")
    counted = report.frames_out + report.frames_dropped + report.frames_failed + report.frames_unfinished
    assert report.frames_in == source.read == counted
    assert report.frames_unfinished >= 0
    for ids in (seen, *(sink.ids for sink in sinks)):
        assert ids == sorted(set(ids))
        if schedule.policy == "every":
            assert ids == list(range(len(ids)))
    if not raised and schedule.leave_at is None:
        assert report.frames_unfinished == 0
