"""Videos whose container is damaged midway: what a reader passes over is counted, and said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import video_files
from video_files import KINDS, Plan, make, number_in

from danet_runtime.errors import SourceDamagedError, SourceError
from danet_runtime.sources import open_source
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.video_files.structure import Gaps, breaks_of

CHAINED = [one.name for one in KINDS if one.name.endswith((".mkv", ".webm", ".avi"))]
FAST = ("open_gop.mkv", "vp9.webm", "mpeg4.avi")


def read_all(
    path: Path, damaged: DamagePolicy = "drop"
) -> tuple[list[int | None], list[int], SourceError | None, dict[str, int]]:
    """The numbers in the frames, their ids, the error at the end, and what was counted."""
    source = open_source(path, damaged=damaged)
    numbers, ids = [], []
    error = None
    frame = np.empty((*source.size_hw, 3), np.uint8)
    try:
        while (info := source.read_into(frame)) is not None:
            numbers.append(number_in(frame))
            ids.append(info.id)
    except SourceError as caught:
        error = caught
    source.close()
    return numbers, ids, error, dict(source.damage.counts)


def header_of(path: Path, number: int) -> int:
    """Where the header of a packet begins, right behind the packet before it."""
    import av

    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        is_avi = container.format.name == "avi"
        before = packets[number - 1]
        # AVI fills up to even places; Matroska's has track and time in front, from where it counts.
        return before.pos + before.size + (before.size % 2 if is_avi else 4)


@pytest.mark.parametrize("name", CHAINED)
def test_a_whole_file_has_no_break(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, video_files.kind(name), Plan(12, sound_s=0.0 if "webm" in name else 1.0))
    assert breaks_of(path) == []
    path.write_bytes(path.read_bytes() + bytes(5000))  # as recorders that reserve their room leave
    assert breaks_of(path) == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # cut off, which is said as such
    assert breaks_of(path) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CHAINED]
)
@pytest.mark.parametrize("noise", [bytes(4), b"\xa3\x7f\xff\xff"], ids=["zeros", "another length"])
def test_packets_behind_a_broken_length_are_counted_as_lost_and_the_rest_is_in_its_place(
    tmp_path: Path, name: str, noise: bytes
) -> None:
    path = make(tmp_path, video_files.kind(name))
    data = bytearray(path.read_bytes())
    at = header_of(path, 16)
    data[at : at + len(noise)] = noise
    path.write_bytes(data)
    numbers, ids, error, counts = read_all(path)
    assert isinstance(error, SourceDamagedError)
    assert None not in numbers
    assert counts["lost packets"] >= 1
    if name == "open_gop.mkv":  # of what is decoded out of order, times tell only about how much is missing
        assert 38 <= len(numbers) + sum(counts.values()) <= 40
    else:
        assert len(numbers) + sum(counts.values()) == 40
        # One picture may be shown later than the lost ones that were to be decoded behind it.
        assert sum(number != place for number, place in zip(numbers, ids, strict=True)) <= 1
    assert numbers[:13] == list(range(13))
    if name not in ("av1.mkv", "open_gop.mkv"):  # which are one cluster
        assert numbers[-16:] == list(range(24, 40))


def test_the_file_ends_at_a_break_where_that_is_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path, video_files.kind("vp9.webm"))
    data = bytearray(path.read_bytes())
    at = header_of(path, 16)
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    _, ids, error, _ = read_all(path, damaged="stop")
    assert "damaged at frame 15 (lost packets)" in str(error)
    assert ids == list(range(15))


def test_a_break_in_the_last_cluster_is_said_although_nothing_comes_behind_it(tmp_path: Path) -> None:
    path = make(tmp_path, video_files.kind("ffv1.mkv"))
    data = bytearray(path.read_bytes())
    at = header_of(path, 38)
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    numbers, _, error, counts = read_all(path)
    assert isinstance(error, SourceDamagedError)
    assert numbers == list(range(37))
    assert counts == {"lost packets": 3}


def test_gaps_are_counted_by_times_or_by_what_is_lacking() -> None:
    gaps = Gaps([500, 900], 25.0, Fraction(1, 1000))
    packets = ((100, 0), (400, 40), (600, 200), (800, 240))
    assert [gaps.before(at, time) for at, time in packets] == [0, 0, 3, 0]
    assert gaps.has_more
    gaps = Gaps([500, 900], 25.0, Fraction(1, 25))
    gaps.lacking = 3
    assert [gaps.before(at, time) for at, time in ((100, 0), (600, 1), (950, 2))] == [0, 1, 2]
    assert not gaps.has_more
