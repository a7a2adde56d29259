"""When the next frame is taken while one is under way: late enough to be new, early enough to be in time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_parts import Camera, Overlapping, stream_of

from danet_runtime.backends.base import DeviceTimes
from danet_runtime.loop.pace import MARGIN_S, Pace

SECOND_S = st.floats(0.0001, 0.1)


class Clock:
    """Time as the test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def simulate(
    stages: tuple[float, float, float], depth: int, frames: int, clock: Clock
) -> list[tuple[float, float]]:
    """When each frame was taken and done, on a device of three stages, with the loop's two threads."""
    pace, free_at, flying, seen = Pace(), [0.0] * 3, deque[tuple[float, float]](), []

    def collect_until(end: float) -> None:
        while flying and flying[0][1] <= end:
            seen.append(flying.popleft())
            clock.now = seen[-1][1]
            pace.collected(DeviceTimes(*(1e3 * stage for stage in stages)))
        clock.now = max(clock.now, end)

    for _ in range(frames):
        if len(flying) == depth:
            collect_until(flying[0][1])
        collect_until(clock.now + pace.pause_s())
        taken = done = clock.now
        for stage, seconds in enumerate(stages):
            done = free_at[stage] = max(done, free_at[stage]) + seconds
        pace.submitted()
        flying.append((taken, done))
    return seen


@given(st.tuples(SECOND_S, SECOND_S, SECOND_S), st.integers(2, 4))
def test_a_frame_waits_for_the_margin_alone_and_the_slowest_stage_never_waits(
    stages: tuple[float, float, float], depth: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        settled = simulate(stages, depth, 60, Clock(monkeypatch))[30:]
    through = sum(stages)
    assert all(done - taken <= through + MARGIN_S + 1e-6 for taken, done in settled)
    # With enough frames under way the slowest stage is busy all the time.
    if through + MARGIN_S <= depth * max(stages):
        gaps = [later - earlier for (_, earlier), (_, later) in pairwise(settled)]
        assert max(gaps) <= max(stages) + 1e-6


def test_nothing_is_waited_for_before_anything_is_known_or_while_nothing_is_under_way() -> None:
    pace = Pace()
    assert pace.pause_s() == 0
    pace.submitted()
    assert pace.pause_s() == 0  # no frame has come back yet
    pace.collected(DeviceTimes(1.0, 50.0, 1.0))
    assert pace.pause_s() == 0
    pace.submitted()
    assert 0.03 < pace.pause_s() < 0.05
    pace.collected(None)  # it failed
    assert pace.pause_s() == 0


def test_a_live_camera_three_times_as_fast_as_inference_gives_no_result_older_than_two_inferences(
    segmenter_with: Callable,
) -> None:
    inference_s = 0.03
    backend = Overlapping((0.001, inference_s, 0.001))
    ages = []
    with stream_of(segmenter_with(backend), Camera(inference_s / 3)) as stream:
        for result in stream:
            ages.append(result.age_ms / 1e3 / inference_s)
            if len(ages) == 40:
                break
    assert backend.most_under_way == 2
    # A busy machine may wake a thread late now and then; given at once, every frame would be older.
    assert np.median(ages[5:]) < 1.7
    assert np.percentile(ages[5:], 80) < 2.0
