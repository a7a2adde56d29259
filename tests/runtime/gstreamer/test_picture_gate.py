"""What passes on the way to a decoder, for any stream and any loss: all that misses nothing, and no more."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtp_packets import packet, sender_report

from danet_runtime.gstreamer.picture_gate import PictureGate
from danet_runtime.gstreamer.rtp_watch import RtpWatch, SenderReports
from danet_runtime.sources.coded.pictures import PictureStart

FIRST, REST = b"\x65\x88\x80\x00\x00", b"\x7c\x05\x80\x00\x00"  # a slice from the top left; a fragment
KEY, DELTA = PictureStart(True, True), PictureStart(True, False)
MS_90K = 90


@dataclass
class Coded:
    """A picture on its way.

    Attributes:
        is_key: Whether it is a key frame.
        arrives: Whether each of its packets does.
        partial: Whether the depayloader hands on what has come of it, where something is missing.
    """

    is_key: bool
    arrives: list[bool]
    partial: bool


streams = st.lists(
    st.builds(
        Coded,
        st.booleans(),
        st.lists(st.sampled_from([True, True, True, False]), min_size=1, max_size=4),
        st.booleans(),
    ),
    max_size=40,
)


def run(stream: list[Coded], damaged: str = "drop", first: int = 65_500) -> list[tuple[int, str | None]]:
    """Numbers of the pictures that passed, and what is wrong with them."""
    watch, gate = RtpWatch("h264"), PictureGate(damaged)  # type: ignore[arg-type]
    passed, sequence = [], first
    for number, picture in enumerate(stream):
        for index, arrives in enumerate(picture.arrives):
            if arrives:
                is_last = index == len(picture.arrives) - 1
                payload = REST if index else FIRST
                watch.packet(packet(payload, sequence, 3600 * number, 7, is_last=is_last), number, number)
            sequence += 1
        is_whole = all(picture.arrives)
        if is_whole or (picture.partial and any(picture.arrives)):
            known = watch.of(number)
            if not is_whole and not picture.arrives[-1] and known is not None:
                continue  # it comes out with the next packet, if at all: the marker is missing
            verdict = gate.judge(KEY if picture.is_key else DELTA, number, known)
            if verdict.passes:
                passed.append((number, verdict.damage))
    return passed


def decodable(stream: list[Coded]) -> list[int]:
    good, numbers = False, []
    for number, picture in enumerate(stream):
        good = all(picture.arrives) and (picture.is_key or good)
        if good:
            numbers.append(number)
    return numbers


@given(streams)
def test_what_passes_is_exactly_what_came_whole_with_all_that_it_builds_on(stream: list[Coded]) -> None:
    assert run(stream) == [(number, None) for number in decodable(stream)]


@given(streams)
def test_with_marks_all_passes_and_what_is_not_whole_is_marked(stream: list[Coded]) -> None:
    passed = run(stream, "mark")
    assert [number for number, damage in passed if damage is None] == decodable(stream)


@given(st.lists(st.booleans(), max_size=30))
def test_nothing_is_lost_by_a_stream_that_loses_nothing(keys: list[bool]) -> None:
    stream = [Coded(is_key, [True, True], False) for is_key in [True, *keys]]
    assert len(run(stream)) == len(stream)


def test_what_is_shown_before_the_key_frame_of_an_open_group_is_kept_back() -> None:
    gate = PictureGate("drop")
    assert gate.judge(PictureStart(True, True, is_closed=False), 100, None).passes
    assert gate.judge(DELTA, 60, None).damage == "missing reference"
    assert gate.judge(DELTA, 140, None).passes


RENEWING = PictureStart(True, True, False, recovered_after=3)


def test_a_stream_that_renews_itself_is_trusted_after_a_renewal_that_a_running_decoder_has_seen() -> None:
    gate = PictureGate("drop")
    verdicts = [gate.judge(RENEWING if number % 5 == 1 else DELTA, number, None) for number in range(12)]
    assert [verdict.passes for verdict in verdicts] == [False] + [True] * 11
    assert [verdict.damage for verdict in verdicts] == ["no key frame yet"] * 9 + [None] * 3


def test_a_decoder_that_runs_is_trusted_from_the_next_renewal_after_a_loss_on() -> None:
    gate = PictureGate("drop")
    assert gate.judge(KEY, 0, None).passes
    gate.lost("lost packets")
    verdicts = [gate.judge(RENEWING if number == 3 else DELTA, number, None) for number in range(1, 8)]
    assert [verdict.passes for verdict in verdicts] == [False] * 2 + [True] * 5
    assert [verdict.damage for verdict in verdicts] == ["lost packets"] * 5 + [None] * 2


def test_a_key_frame_is_asked_for_once_a_loss() -> None:
    gate = PictureGate("drop")
    assert [gate.judge(DELTA, number, None).asks for number in range(3)] == [True, False, False]
    assert gate.judge(KEY, 4, None).passes
    gate.lost("lost packets")
    assert [gate.judge(DELTA, number, None).asks for number in range(5, 7)] == [True, False]


@pytest.mark.parametrize("start", [0, 2**32 - 5 * 3600])
def test_times_go_on_where_rtp_times_begin_again(start: int) -> None:
    watch = RtpWatch("h264")
    times = []
    for number in range(10):
        watch.packet(packet(FIRST, number, start + 3600 * number, 7, is_last=True), number, 0)
        picture = watch.of(number)
        assert picture is not None
        times.append(watch.time_ns(picture))
    assert [after - before for before, after in itertools.pairwise(times)] == [40_000_000] * 9


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_no_two_pictures_have_one_timestamp_whatever_they_were_given(given_pts: list[int]) -> None:
    watch, known = RtpWatch("h264"), {}
    for number, pts in enumerate(given_pts):
        for part in range(2):
            data = packet(REST if part else FIRST, 2 * number + part, 3600 * number, 7, is_last=part == 1)
            known.setdefault(watch.packet(data, pts, 0), set()).add(number)
    assert [*known.values()] == [{number} for number in range(len(given_pts))]
    assert [*known] == sorted(known)
    assert [watch.of(pts).rtp_time - 2**32 for pts in known] == [3600 * n for n in range(len(given_pts))]


@given(st.integers(-(2**20), 2**20), st.integers(0, 2**32 - 1), st.integers(10**18, 2 * 10**18))
def test_a_senders_report_gives_its_pictures_their_wall_clock(ticks: int, stamp: int, unix_ns: int) -> None:
    watch, reports = RtpWatch("h264"), SenderReports()
    reports.packet(sender_report(unix_ns, stamp, 7, 0))
    watch.packet(packet(FIRST, 0, stamp + ticks, 7, is_last=True), 0, 0)
    picture = watch.of(0)
    assert picture is not None
    sent_ns = watch.sent_unix_ns(picture, reports)
    assert sent_ns is not None
    assert abs(sent_ns - (unix_ns + ticks * 10**9 // 90_000)) < 1000
