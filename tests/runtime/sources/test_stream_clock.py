"""Capture times by the timestamps of a stream: delays are seen, and a sender's clock that is set is, too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_parts import Echo, stream_of, until

from danet_runtime.clock import now_ns
from danet_runtime.sources.gstreamer import PipelineSource, has_element
from danet_runtime.sources.live.stream_clock import StreamClock

MS = 1_000_000

# Frames of a number, 50 a second; after the 40th the sender's clock is an hour earlier.
SENDER = """
import sys, time
from danet_runtime.sources.protocol import gdp
fd = int(sys.argv[1])
caps = gdp.write_caps((48, 64), 50)
gdp.write(fd, gdp.write_header(gdp.CAPS, len(caps)) + caps)
for number in range(10**6):
    stamp = time.monotonic_ns() + (0 if number > 40 else 3600 * 10**9)
    gdp.write(fd, gdp.write_header(gdp.BUFFER, 48 * 64 * 3, stamp) + bytes([number % 251]) * (48 * 64 * 3))
    time.sleep(0.02)
"""


class Sender(PipelineSource):
    """A camera whose clock is set while it sends."""

    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        return (sys.executable, "-c", SENDER, "{fd}"), ()


def ages(clock: StreamClock, frames: list[tuple[float, float]]) -> list[float]:
    """Milliseconds from capture to arrival, by frames of timestamp and arrival in milliseconds."""
    return [(int(now * MS) - clock.capture_ns(int(stamp * MS), int(now * MS))) / MS for stamp, now in frames]


def test_a_frame_that_came_later_than_its_fellows_is_older() -> None:
    frames = [(0, 1010), (40, 1050), (80, 1290), (120, 1130)]
    assert ages(StreamClock("x"), frames) == pytest.approx([0, 0, 200, 0], abs=0.1)


@given(jump=st.floats(100, 1e9), offset=st.floats(0, 1e6))
def test_a_clock_that_falls_back_makes_no_frame_but_the_first_look_old(jump: float, offset: float) -> None:
    before = [(1e9 + 40 * number, offset + 40 * number) for number in range(5)]
    after = [(1e9 + 40 * number - jump, offset + 40 * number) for number in range(5, 10)]
    ages_ms = ages(StreamClock("x"), before + after)
    assert ages_ms[:5] == pytest.approx([0] * 5, abs=0.1)
    assert ages_ms[5] > 40  # captured before the one before it, by its own words: that is how it is noticed
    assert ages_ms[6:] == pytest.approx([0] * 4, abs=0.1)


@given(jump=st.floats(100, 1e9))
def test_a_clock_that_leaps_ahead_makes_no_frame_come_from_the_future(jump: float) -> None:
    before = [(40.0 * number, 1000 + 40.0 * number) for number in range(5)]
    after = [(40.0 * number + jump, 1000 + 40.0 * number) for number in range(5, 10)]
    assert ages(StreamClock("x"), before + after) == pytest.approx([0] * 10, abs=0.1)


def test_timestamps_that_are_mended_a_little_are_no_jump() -> None:
    frames = [(0, 1000), (40, 1040), (30, 1080), (120, 1120)]
    assert ages(StreamClock("x"), frames) == pytest.approx([0, 0, 50, 0], abs=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not has_element("gdppay"), reason="GStreamer is not installed")
def test_the_health_says_that_a_senders_clock_was_set_and_ages_are_right_after_it(
    segmenter_with: Callable,
) -> None:
    source = Sender("gst:made by the test")
    with stream_of(segmenter_with(Echo()), source) as stream:
        warning = "has a clock that jumps: its capture times cannot be trusted"
        until(lambda: any(warning in " ".join(event.reasons) for event in stream.health.events), 20)
        until(lambda: stream.health.state == "ready", 20)
        frames = stream.frames_out
        until(lambda: stream.frames_out > frames + 10, 20)
        result = stream.latest(1e9)
        assert result is not None
        assert (now_ns() - result.capture_time_ns) / 1e9 < 10  # and not an hour
    assert stream.report().error is None
