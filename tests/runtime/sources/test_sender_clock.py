"""Ages by a sender's wall clock: never smaller than timestamps tell, right where it is in step, else told."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.clock import now_ns
from danet_runtime.results.health import Health
from danet_runtime.sources.live.sender_clock import SenderClock
from danet_runtime.sources.protocol.source import CaptureClock
from danet_runtime.stream.pipeline.frame_checks import FrameCheck

MS = 1_000_000

delays = st.lists(st.floats(0, 1800), min_size=2, max_size=30)


def ages(
    delays_ms: list[float], error_ms: float, name: str = "camera"
) -> tuple[list[float], list[CaptureClock]]:
    """Ages at the arrival of frames that were delayed by so much, with a clock that is ahead by so much."""
    clock, ages_ms, clocks = SenderClock(name), [], []
    start_ns, wall_ns = now_ns(), time.time_ns()
    for number, delay_ms in enumerate(delays_ms):
        captured_ns = number * 2000 * MS
        arrival_ns = captured_ns + int(delay_ms * MS)
        sender_ns = wall_ns + captured_ns + int(error_ms * MS)
        capture_ns, by = clock.capture_ns(captured_ns, sender_ns, start_ns + arrival_ns)
        ages_ms.append((start_ns + arrival_ns - capture_ns) / MS)
        clocks.append(by)
    return ages_ms, clocks


@given(delays)
def test_ages_are_the_true_ones_where_the_clocks_are_in_step(delays_ms: list[float]) -> None:
    ages_ms, clocks = ages(delays_ms, 0.0)
    assert ages_ms == pytest.approx(delays_ms, abs=2.0)
    assert set(clocks) == {"sensor"}


@given(delays, st.floats(-1e7, 1e7))
def test_no_age_is_smaller_than_the_timestamps_tell_whatever_the_clock_says(
    delays_ms: list[float], error_ms: float
) -> None:
    ages_ms, _ = ages(delays_ms, error_ms)
    for number, (age, delay) in enumerate(zip(ages_ms, delays_ms, strict=True)):
        drifted = 0.2 * number  # what a slower clock of the sender is granted
        assert age >= delay - min(delays_ms[: number + 1]) - drifted - 2.0


@pytest.mark.parametrize(("error_ms", "where"), [(3.6e6, "ahead of"), (-3.6e6, "behind"), (500, "ahead of")])
def test_a_clock_that_is_not_in_step_is_not_used_and_said_once(
    error_ms: float, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    ages_ms, clocks = ages([100.0] * 20, error_ms)
    assert set(clocks) == {"stream"}
    assert ages_ms == pytest.approx([0.0] * 20, abs=5.0)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert f"{where} this machine's" in messages[0]


def test_a_sender_without_reports_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = SenderClock("camera")
    with caplog.at_level(logging.INFO):
        for number in range(30):
            assert clock.capture_ns(number * 10**9, None, 10**12 + number * 10**9)[1] == "stream"
    assert [record.getMessage() for record in caplog.records] == [
        "camera: the sender reports no clock: ages leave out the delay that all frames share"
    ]


def test_times_that_fall_back_because_the_sender_began_to_report_are_no_jump_of_a_clock() -> None:
    health = Health()
    health.started()
    check = FrameCheck("camera", health, 60.0, 60.0)
    frame = np.full((16, 16), 100, np.uint8)
    now = now_ns()
    check.look(frame, now, "stream")
    check.look(frame, now - 80 * MS, "sensor")
    assert health.state == "ready"
    check.look(frame, now - 160 * MS, "sensor")
    assert "clock that jumps" in health.reasons[0]
