"""Videos whose container is damaged midway: what a reader passes over is counted, and said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import video_files
from hypothesis import given
from hypothesis import strategies as st
from video_files import KINDS, Plan, make, number_in

from danet_runtime.errors import SourceDamagedError, SourceError
from danet_runtime.sources import open_source
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.video_files.structure import Gaps, breaks_of
from danet_runtime.sources.video_files.transport_gaps import gaps_of

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


STREAMS = [one.name for one in KINDS if one.name.endswith(".ts")]


def without_pictures(path: Path, numbers: range) -> None:
    """Leave all packets of a transport stream out that carry these pictures, as a network may lose them."""
    import av

    with av.open(str(path)) as container:
        pid = container.streams.video[0].id
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    lost = range(places[numbers.start], places[numbers.stop])
    kept = [
        data[at : at + 188]
        for at in range(0, len(data), 188)
        if at not in lost or int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF != pid
    ]
    path.write_bytes(b"".join(kept))


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("lost", [range(16, 17), range(19, 22)])
def test_pictures_that_a_transport_stream_lost_whole_are_counted(
    tmp_path: Path, name: str, lost: range
) -> None:
    path = make(tmp_path, video_files.kind(name))
    without_pictures(path, lost)
    numbers, ids, error, counts = read_all(path)
    assert isinstance(error, SourceDamagedError)
    assert None not in numbers
    assert len(numbers) + sum(counts.values()) == 40
    assert numbers == sorted(set(numbers))
    assert (numbers[-1], ids[-1]) == (39, 39)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [188, 192, 204])
def test_a_whole_transport_stream_lacks_nothing_whatever_stands_between_its_packets(
    tmp_path: Path, name: str, size: int
) -> None:
    path = make(tmp_path, video_files.kind(name), Plan(12))
    data = path.read_bytes()
    pieces = [data[at : at + 188] for at in range(0, len(data), 188)]
    if size == 192:
        pieces = [bytes(4) + piece for piece in pieces]
    path.write_bytes(b"".join(piece.ljust(size, b"\xff") for piece in pieces))
    assert gaps_of(path, 256) == []
    del pieces[len(pieces) // 2]
    path.write_bytes(b"noise" + b"".join(piece.ljust(size, b"\xff") for piece in pieces))
    assert len(gaps_of(path, 256)) <= 1


@given(st.lists(st.booleans(), min_size=8, max_size=60))
def test_every_loss_but_of_16_packets_is_found_at_its_place(
    tmp_path_factory: pytest.TempPathFactory, kept: list[bool]
) -> None:
    kept = [True, *kept, *[True] * 8, *[False] * 15, True, *[False] * 17, *[True] * 8]
    stream, expected, missing = b"", [], 0
    for number, is_kept in enumerate(kept):
        if is_kept:
            if missing % 16:
                expected.append(len(stream))
            missing = 0
            head = bytes([0x47, 0x01, 0x00, 0x10 | number % 16])
            stream += (head + bytes([number])).ljust(188, b"\0") + bytes([0x47, 0x1F, 0xFF, 0x10]).ljust(
                188, b"\xff"
            )
        else:
            missing += 1
    path = tmp_path_factory.mktemp("it") / "it.ts"
    path.write_bytes(stream[:188] + stream)  # one was sent twice
    expected = [place + 188 for place in expected]
    assert gaps_of(path, 256) == expected


def test_gaps_are_counted_by_times_or_by_what_is_lacking() -> None:
    gaps = Gaps([500, 900], 25.0, Fraction(1, 1000))
    packets = ((100, 0), (400, 40), (600, 200), (800, 240))
    assert [gaps.before(at, time) for at, time in packets] == [0, 0, 3, 0]
    assert gaps.has_more
    gaps = Gaps([500, 900], 25.0, Fraction(1, 25), lacking=3)
    assert [gaps.before(at, time) for at, time in ((100, 0), (600, 1), (950, 2))] == [0, 1, 2]
    assert not gaps.has_more
    joined = Gaps([500], 25.0, Fraction(1, 1000), most_s=10.0)
    assert [joined.before(at, time) for at, time in ((100, 0), (600, 60_000))] == [0, 0]
    damaged = Gaps([500, 700], 25.0, Fraction(1, 1000), most=5)
    times = ((100, 0), (600, 10**12), (800, 10**15))
    assert [damaged.before(at, time) for at, time in times] == [0, 5, 0]
