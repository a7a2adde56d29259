"""When the next frame is taken while one is under way: late enough to be new, early enough to be in time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_parts import Camera, Overlapping, stream_of

from danet_runtime.stream.inference.pace import MARGIN_S, Pace
from danet_runtime.stream.state.slots import Policy
from danet_runtime.timing import DeviceTimes

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


@pytest.mark.parametrize("policy", ["latest", "every"])
def test_a_stream_waits_before_it_takes_a_live_frame_and_never_before_one_of_a_file(
    segmenter_with: Callable, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = Pace.pause_s

    def noted(pace: Pace) -> float:
        pauses.append(real(pace))
        return pauses[-1]

    monkeypatch.setattr(Pace, "pause_s", noted)
    backend = Overlapping((0.001, 0.03, 0.001))
    assert stream_of(segmenter_with(backend), Camera(0.01, count=60), policy=policy, max_frames=60).run()
    if policy == "every":
        assert pauses == []
    else:
        # An upload and a margin before the model is free: about 28 of its 30 ms.
        assert max(pauses) <= 0.03
        assert sum(pause > 0.02 for pause in pauses) > 3
