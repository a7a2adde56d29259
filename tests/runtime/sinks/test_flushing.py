"""What sinks write is flushed behind their backs; a disk that fails or hangs at it is told."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from sink_parts import result
from stream_parts import Echo, Frames, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import SinkError
from danet_runtime.sinks import StreamFormat
from danet_runtime.sinks.json_lines import JsonLinesSink
from danet_runtime.sinks.masks import MasksSink
from danet_runtime.sinks.writing import flushing
from danet_runtime.sinks.writing.flushing import Flusher
from danet_runtime.sinks.writing.video_file import VideoFile

FORMAT = StreamFormat((48, 64), 25.0, (), np.zeros((256, 3), np.uint8))
PICTURE = np.zeros((48, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "FLUSH_EVERY_S", 0.01)


class Disk:
    """What flushing meets: it can hang, and fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.works = threading.Event()
        self.works.set()
        self.begun = threading.Event()
        self.fails = False
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self.flush)

    def flush(self, _descriptor: int) -> None:
        self.begun.set()
        assert self.works.wait(30), "somebody waited for a disk that hangs"
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_what_was_written_while_a_flush_ran_is_flushed_by_the_next() -> None:
    written, flushed, go = [1], [], threading.Event()

    def flush() -> None:
        until_now = list(written)
        go.wait(20)
        flushed.append(until_now)

    flusher = Flusher("test", flush)
    flusher.note()
    flusher.start()
    until(lambda: flusher._flushing_ns)
    written.append(2)
    flusher.note()
    assert flusher.behind_s > 0
    go.set()
    until(lambda: flushed and flushed[-1] == [1, 2])
    until(lambda: flusher.behind_s == 0)
    flusher.close()
    flusher.close()
    assert len(flushed) == 2  # nothing is flushed where nothing was written


def sinks(folder: Path) -> list[JsonLinesSink | MasksSink | VideoFile]:
    lines, masks = JsonLinesSink(folder / "out.jsonl"), MasksSink(folder / "masks")
    for sink in (lines, masks):
        sink.open(FORMAT)
    return [lines, masks, VideoFile(folder / "out.mp4", (48, 64), 25.0)]


def write(sink: JsonLinesSink | MasksSink | VideoFile, number: int) -> None:
    if isinstance(sink, VideoFile):
        sink.write(PICTURE)
    else:
        sink.write(result(PICTURE, number))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_disk_that_hangs_holds_up_no_write_and_how_long_is_known(
    tmp_path: Path, disk: Disk, kind: int
) -> None:
    sink = sinks(tmp_path)[kind]
    write(sink, 0)  # which makes a folder, and waits until that is on the disk
    until(lambda: sink.unflushed_s == 0)
    disk.begun.clear()
    disk.works.clear()
    number = 1
    while not disk.begun.is_set():  # the muxer holds back what it has
        write(sink, number)
        number += 1
    for more in range(50):
        write(sink, number + more)
    assert sink.unflushed_s > 0
    disk.works.set()
    sink.close()
    assert sink.unflushed_s == 0


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_what_the_disk_did_not_take_is_told_at_the_next_write_and_at_the_end(
    tmp_path: Path, disk: Disk, kind: int
) -> None:
    first, second = sinks(tmp_path / "a")[kind], sinks(tmp_path / "b")[kind]
    write(second, 0)
    disk.fails = True
    with pytest.raises(SinkError, match="Input/output error"):  # noqa: PT012
        for number in range(10_000):
            write(first, number)
    with pytest.raises(SinkError, match="Input/output error"):
        second.close()


def test_a_sink_that_is_not_flushed_for_long_degrades_the_health(
    bundle: Bundle, tmp_path: Path, disk: Disk
) -> None:
    sink = JsonLinesSink(tmp_path / "out.jsonl")
    segmenter = Segmenter(bundle, backend=Echo())
    stream = stream_of(
        segmenter, Frames(10**6, live=True, pause_s=0.01), [sink], sink_timeout_s=0.2, watch_every_s=0.01
    )
    disk.works.clear()
    with stream:
        until(lambda: "not been flushed to the disk for more than 0.2 s" in str(stream.health.reasons))
        disk.works.set()
        until(lambda: "flushed" not in str(stream.health.reasons))
