"""Masks where everybody may make files: nobody else's are read, and nobody else's file is touched."""

from __future__ import annotations

import os
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink_parts import result

from danet_runtime.clock import now_ns
from danet_runtime.errors import SinkError, SourceError, UsageError
from danet_runtime.sinks import SharedMaskReader, StreamFormat, open_sink
from danet_runtime.sinks.shared import layout as shared_layout
from danet_runtime.sinks.shared.memory import SharedMemorySink

pytestmark = pytest.mark.skipif(not shared_layout.FOLDER.is_dir(), reason="this system has no /dev/shm")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

SOMEBODY = 54321
"""A user and a group that own nothing."""

ROAD = 0
HW = (48, 64)


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield chosen
    for file in shared_layout.FOLDER.iterdir():
        if chosen in file.name:
            file.unlink()


def segment(name: str, label: int = ROAD, size_hw: tuple[int, int] = HW, capture_ns: int = 0) -> bytearray:
    """A whole segment with one young mask, by the words of the layout and not by its code."""
    height, width = size_hw
    labels = bytes([label]) * (height * width)
    slot_bytes = (128 + len(labels) + 63) // 64 * 64
    data = bytearray(4096 + 4 * slot_bytes)
    struct.pack_into(
        "<8sIIIIIIQQ64s", data, 0, b"DANETSHM", 2, 4, height, width, 0, 0, slot_bytes, 1, name.encode()
    )
    start = 4096 + slot_bytes  # mask 1 is in slot 1
    facts = struct.pack("<qqiiii", 7, capture_ns or now_ns(), 1, -1, 0, 0)
    source = b"front".ljust(64, b"\0")
    checksum = zlib.crc32(labels, zlib.crc32(facts + source))
    struct.pack_into("<Q32sI20x64s", data, start, 2, facts, checksum, source)
    data[start + 128 : start + 128 + len(labels)] = labels
    return data


def as_somebody(act: Callable[[], object]) -> bool:
    """Do something as another user of the machine; whether it could be done."""
    child = os.fork()
    if child == 0:
        done = 1
        try:
            os.setgroups([])
            os.setgid(SOMEBODY)
            os.setuid(SOMEBODY)
            act()
            done = 0
        finally:
            os._exit(done)
    return os.waitpid(child, 0)[1] == 0


def plant(name: str, data: bytes, mode: int = 0o600) -> Path:
    path = shared_layout.segment_path(name)
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_segment_made_by_the_words_of_the_layout_is_read(name: str) -> None:
    plant(name, segment(name, label=3))
    with SharedMaskReader(name) as reader:
        mask = reader.latest(1000)
    assert mask is not None
    assert (mask.labels == 3).all()
    assert (mask.frame_id, mask.health, mask.late, mask.source, mask.damage) == (
        7,
        "ready",
        None,
        "front",
        None,
    )


# Forged masks.


@as_root
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_another_users_mask_is_refused_however_young_and_whole_it_is(name: str, mode: int) -> None:
    assert as_somebody(lambda: plant(name, segment(name), mode))
    with SharedMaskReader(name) as reader:
        with pytest.raises(SourceError, match=f"belongs to user {SOMEBODY}"):
            reader.latest(1000)
        assert reader.size_hw is None


@as_root
def test_a_user_that_is_named_is_trusted(name: str) -> None:
    assert as_somebody(lambda: plant(name, segment(name, label=2)))
    mask = SharedMaskReader(name, owner=SOMEBODY).latest(1000)
    assert mask is not None
    assert (mask.labels == 2).all()
    with pytest.raises(UsageError, match="no user"):
        SharedMaskReader(name, owner="nobody-of-that-name")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o662])
def test_a_segment_that_others_can_write_is_refused(name: str, mode: int) -> None:
    plant(name, segment(name), mode)
    with pytest.raises(SourceError, match="can be written by others"):
        SharedMaskReader(name).latest(1000)


def test_a_segment_that_others_may_write_from_now_on_is_refused_by_who_reads_it(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    sink, reader = SharedMemorySink(name), SharedMaskReader(name)
    sink.open(stream_format())
    sink.write(result(np.zeros((*HW, 3), np.uint8), capture_time_ns=now_ns()))
    assert reader.latest(1000) is not None
    shared_layout.segment_path(name).chmod(0o666)
    with pytest.raises(SourceError, match="can be written by others"):
        reader.latest(1000)
    sink.close()


def test_a_link_to_a_segment_is_refused_whoever_made_it(name: str, tmp_path: Path) -> None:
    other = tmp_path / "segment"
    other.write_bytes(segment(name))
    other.chmod(0o600)
    shared_layout.segment_path(name).symlink_to(other)
    with pytest.raises(SourceError, match="symbolic link"):
        SharedMaskReader(name).latest(1000)


def test_another_cameras_segment_under_this_name_is_refused(name: str) -> None:
    rear = f"{name}-rear"
    path = plant(rear, segment(rear))
    os.link(path, shared_layout.segment_path(name))
    with pytest.raises(SourceError, match="has 2 names"):
        SharedMaskReader(name).latest(1000)
    path.unlink()
    with pytest.raises(SourceError, match=r"contradicts itself.*rear"):
        SharedMaskReader(name).latest(1000)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_plain_file_is_refused_at_once(name: str, make: Callable[[Path], None]) -> None:
    path = shared_layout.segment_path(name)
    make(path)
    path.chmod(0o700)
    try:
        with pytest.raises(SourceError, match="no plain file"):
            SharedMaskReader(name).latest(1000)
        with pytest.raises(SinkError, match="no plain file"):
            SharedMemorySink(name).open(StreamFormat(HW, None, (), np.zeros((256, 3), np.uint8)))
    finally:
        if path.is_dir():
            path.rmdir()


def test_a_mask_from_the_future_is_not_taken_for_a_young_one(name: str) -> None:
    plant(name, segment(name, capture_ns=now_ns() + 3600 * 10**9))
    assert SharedMaskReader(name).latest(1000) is None


# Planted names.


@as_root
@pytest.mark.parametrize("content", [b"precious", b"DANETSHM and more"])
def test_a_writer_never_writes_through_a_planted_link_nor_removes_it(
    name: str, stream_format: Callable[..., StreamFormat], tmp_path: Path, content: bytes
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(content)
    path = shared_layout.segment_path(name)
    planted = [path, path.with_name(f".{path.name}.{os.getpid()}")]
    for place in planted:
        assert as_somebody(lambda place=place: place.symlink_to(victim))  # type: ignore[misc]
    with pytest.raises(SinkError, match="symbolic link"):
        SharedMemorySink(name).open(stream_format())
    assert victim.read_bytes() == content
    planted[0].unlink()
    sink = SharedMemorySink(name)
    sink.open(stream_format())
    sink.write(result(np.zeros((*HW, 3), np.uint8)))
    sink.close()
    assert victim.read_bytes() == content
    assert planted[1].is_symlink()  # it stood in nobody's way


@as_root
def test_a_writer_leaves_another_users_file_as_it_is(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    path, forged = shared_layout.segment_path(name), bytes(segment(name))
    assert as_somebody(lambda: plant(name, forged, 0o666))
    with pytest.raises(SinkError, match=f"belongs to user {SOMEBODY}"):
        SharedMemorySink(name).open(stream_format())
    assert path.read_bytes() == forged
    assert path.stat().st_uid == SOMEBODY


def test_a_writer_leaves_a_file_of_its_own_user_that_is_no_segment(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    path = plant(name, b"notes")
    with pytest.raises(SinkError, match="no segment of danet; it is left as it is"):
        SharedMemorySink(name).open(stream_format())
    assert path.read_bytes() == b"notes"


def test_a_writer_that_ends_removes_no_other_segment_than_its_own(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    first, second = SharedMemorySink(name), SharedMemorySink(name)
    first.open(stream_format())
    shared_layout.segment_path(name).unlink()  # by hand
    second.open(stream_format())
    second.write(result(np.zeros((*HW, 3), np.uint8), label=2, capture_time_ns=now_ns()))
    first.close()
    mask = SharedMaskReader(name).latest(1000)
    assert mask is not None
    assert (mask.labels == 2).all()
    second.close()


def test_of_writers_that_take_a_left_segment_at_a_time_one_gets_it(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def take(sink: SharedMemorySink) -> str:
        try:
            sink.open(stream_format())
        except SinkError as error:
            return str(error)
        return "mine"

    for _ in range(10):
        plant(name, segment(name))
        sinks = [SharedMemorySink(name) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(take, sinks))
        assert outcomes.count("mine") == 1
        assert all("in use by another process" in words for words in outcomes if words != "mine")
        sinks[outcomes.index("mine")].write(
            result(np.zeros((*HW, 3), np.uint8), label=2, capture_time_ns=now_ns())
        )
        mask = SharedMaskReader(name).latest(1000)
        assert mask is not None
        assert (mask.labels == 2).all()
        for sink in sinks:
            sink.close()
        assert not shared_layout.segment_path(name).exists()


# Who may read.


def test_a_segment_is_its_users_alone_whatever_the_umask(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    before = os.umask(0)
    try:
        sink = SharedMemorySink(name)
        sink.open(stream_format())
        assert stat.S_IMODE(shared_layout.segment_path(name).stat().st_mode) == 0o600
        sink.close()
    finally:
        os.umask(before)


@as_root
def test_a_group_that_is_named_may_read_and_not_write(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    before = os.umask(0o077)
    try:
        sink = SharedMemorySink(name, group=SOMEBODY)
        sink.open(stream_format())
    finally:
        os.umask(before)
    path = shared_layout.segment_path(name)
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o640, SOMEBODY)
    assert as_somebody(lambda: path.read_bytes())
    assert not as_somebody(lambda: path.open("r+b"))
    assert SharedMaskReader(name).latest(1000) is None
    sink.close()
    with pytest.raises(UsageError, match="no group"):
        open_sink(f"shm:{name}?group=no-such-group")


# What is torn, cut or hostile inside.


def test_a_segment_that_is_cut_ends_neither_reader_nor_writer(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    sink, reader = SharedMemorySink(name, frame=True), SharedMaskReader(name)
    sink.open(stream_format())
    path = shared_layout.segment_path(name)
    whole = path.stat().st_size
    for size in (whole - 1, 4096 + 200, 4096, 30, 0):
        sink.write(result(np.zeros((*HW, 3), np.uint8), capture_time_ns=now_ns()))
        os.truncate(path, whole)
        sink.write(result(np.zeros((*HW, 3), np.uint8), capture_time_ns=now_ns()))
        assert reader.latest(1000) is not None
        held = reader._layout
        os.truncate(path, size)
        assert held is not None
        for number in range(sink._written - 3, sink._written + 1):
            reader._copy(held, number)  # between the look at the size and the copy
        with pytest.raises(SourceError, match=r"contradicts itself|is no segment"):
            reader.latest(1000)
        os.truncate(path, whole)
        with path.open("r+b") as file:
            file.write(held.header(name))
    sink.close()


VALUES = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2, 2**31, 2**32 - 1, 48, 64, 65536]))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.dictionaries(st.integers(0, 4096 // 4 + 60), VALUES, max_size=6))
def test_whatever_a_segment_says_it_is_read_right_or_refused(name: str, places: dict[int, int]) -> None:
    data = segment(name)
    whole = bytes(data)
    slot = 4096 + (len(data) - 4096) // 4
    for place, value in places.items():
        # The header's first words, then those of the slot with the mask.
        at = 4 * place if place < 30 else slot + 4 * (place % 40)
        struct.pack_into("<I", data, at, value)
    plant(name, bytes(data))
    with SharedMaskReader(name) as reader:
        try:
            mask = reader.latest(10**6)
        except SourceError:
            assert data != whole
            return
    if mask is not None:
        assert (mask.labels == ROAD).all()
        assert (mask.frame_id, mask.health, mask.labels.shape) == (7, "ready", HW)
