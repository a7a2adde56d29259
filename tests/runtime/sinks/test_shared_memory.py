"""Masks in shared memory: never torn, never old, gone when the writer ends, replaced when it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sink_parts import result, run_and_kill

from danet_runtime.errors import SinkError, SourceError
from danet_runtime.sinks import SharedMaskReader, Sink, StreamFormat
from danet_runtime.sinks.shared import layout as shared_layout
from danet_runtime.sinks.shared.memory import SharedMemorySink

pytestmark = pytest.mark.skipif(not shared_layout.FOLDER.is_dir(), reason="this system has no /dev/shm")

WRITER = """
import numpy as np, sys
from danet_runtime.clock import now_ns
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.shared.memory import SharedMemorySink
height, width = 240, 320
sink = SharedMemorySink(sys.argv[1], frame=True)
sink.open(StreamFormat((height, width), None, [], np.zeros((256, 3), np.uint8)))
frame, labels = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
number = 0
print("ready", flush=True)
while True:
    labels[:] = frame[:] = number % 251
    late = number % 2 == 0
    sink.write(Result(frame, labels, number, now_ns(), 0.0, {}, source="front", late=late))
    number += 1
"""


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield chosen
    shared_layout.segment_path(chosen).unlink(missing_ok=True)


def test_a_reader_gets_the_newest_mask_with_its_facts_and_none_that_is_old(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    sink, reader = SharedMemorySink(name), SharedMaskReader(name)
    assert isinstance(sink, Sink)
    assert reader.latest(1000) is None
    sink.open(stream_format())
    assert reader.latest(1000) is None
    assert reader.size_hw == (48, 64)
    for number in range(7):
        sink.write(
            result(
                np.zeros((48, 64, 3), np.uint8),
                number + 10,
                label=number,
                source="links/vörn",
                health="stale",
                late=[None, False, True][number % 3],
            )
        )
    mask = reader.latest(1000)
    assert mask is not None
    assert (mask.labels == 6).all()
    assert mask.frame is None
    assert (mask.number, mask.frame_id, mask.health, mask.late, mask.source) == (
        7,
        16,
        "stale",
        None,
        "links/vörn",
    )
    time.sleep(0.03)
    assert reader.latest(20) is None
    again = reader.latest(1000)
    assert again is not None
    assert again.age_ms > 30
    sink.close()
    sink.close()
    assert reader.latest(10**6) is None
    assert not shared_layout.segment_path(name).exists()
    reader.close()
    with pytest.raises(SinkError, match="not open"):
        sink.write(result(np.zeros((48, 64, 3), np.uint8)))


def test_every_mask_is_whole_beside_a_writer_that_never_pauses(name: str) -> None:
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), name], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    numbers, ids = [], []
    try:
        with SharedMaskReader(name) as reader:
            end = time.monotonic() + 3
            while len(ids) < 300 and time.monotonic() < end:
                mask = reader.latest(1000)
                if mask is None:
                    continue
                assert mask.frame is not None
                assert (mask.labels == mask.frame_id % 251).all()
                assert (mask.frame == mask.frame_id % 251).all()
                assert mask.late == (mask.frame_id % 2 == 0)
                assert mask.number == mask.frame_id + 1
                numbers.append(mask.number)
                ids.append(mask.frame_id)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    assert len(set(ids)) > 5
    assert ids == sorted(ids)


def test_a_mask_that_is_being_written_or_damaged_is_not_given_out(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    sink, reader = SharedMemorySink(name), SharedMaskReader(name)
    sink.open(stream_format())
    sink.write(result(np.zeros((48, 64, 3), np.uint8), label=3))
    layout = shared_layout.Layout((48, 64), 4, has_frame=False)
    start = layout.slot_at(1)
    for at, value in ((start, 1), (start + 8, 9), (start + 200, 77)):  # sequence, frame id, a label
        with shared_layout.segment_path(name).open("r+b", buffering=0) as segment:
            segment.seek(at)
            before = segment.read(1)
            assert before != bytes([value])
            segment.seek(at)
            segment.write(bytes([value]))
            assert reader.latest(1000) is None
            segment.seek(at)
            segment.write(before)
        assert reader.latest(1000) is not None
    sink.close()
    reader.close()


def test_a_segment_in_use_is_refused_and_that_of_a_killed_process_replaced(
    name: str, stream_format: Callable[..., StreamFormat]
) -> None:
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), name], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    sink, reader = SharedMemorySink(name), SharedMaskReader(name)
    with pytest.raises(SinkError, match="in use by another process"):
        sink.open(stream_format())
    while reader.latest(1000) is None:
        time.sleep(0.01)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    assert shared_layout.segment_path(name).exists()
    time.sleep(0.05)
    assert reader.latest(40) is None  # what it left expires
    sink.open(stream_format())
    sink.write(result(np.zeros((48, 64, 3), np.uint8), 5))
    mask = reader.latest(1000)  # the same reader finds the new segment
    assert mask is not None
    assert (mask.frame_id, mask.labels.shape) == (5, (48, 64))
    sink.close()
    reader.close()
    assert not [file for file in shared_layout.FOLDER.iterdir() if name in file.name]


def test_a_process_that_is_killed_leaves_a_segment_that_only_its_user_may_read(name: str) -> None:
    run_and_kill(WRITER.replace('print("ready"', 'print("ready, writing"'), name)
    assert shared_layout.segment_path(name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"short", b"DANETSHM" + bytes(5000), b"x" * 5000])
def test_a_file_that_is_no_segment_is_refused(name: str, content: bytes) -> None:
    Path(shared_layout.segment_path(name)).write_bytes(content)
    with pytest.raises(SourceError, match=r"is no segment|expected a segment"):
        SharedMaskReader(name).latest(1000)
