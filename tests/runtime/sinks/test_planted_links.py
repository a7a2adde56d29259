"""Where others may write to the folder of an output, a link in its way leads it to no file of its user."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sink_parts import result

from danet_runtime.errors import SinkError
from danet_runtime.sinks import Sink, StreamFormat, open_sink

FRAME = np.zeros((48, 64, 3), np.uint8)
KEPT = "of somebody else"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_text(KEPT)
    return file


def _write_one(sink: Sink, stream_format: StreamFormat) -> None:
    sink.open(stream_format)
    sink.write(result(FRAME))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["drive.jsonl", "drive.mp4", "drive.avi"])
def test_a_link_that_comes_after_the_check_is_not_followed(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], victim: Path, name: str, overwrite: bool
) -> None:
    sink = open_sink(str(tmp_path / name), overwrite=overwrite)
    (tmp_path / name).symlink_to(victim)
    with pytest.raises(SinkError, match=r"cannot be written"):
        _write_one(sink, stream_format())
    sink.close()
    assert victim.read_text() == KEPT


@pytest.mark.parametrize("name", ["drive.jsonl", "drive.mkv"])
def test_what_comes_after_the_check_is_not_replaced_unasked(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], name: str
) -> None:
    sink = open_sink(str(tmp_path / name))
    (tmp_path / name).write_text(KEPT)
    with pytest.raises(SinkError, match=r"cannot be written"):
        _write_one(sink, stream_format())
    sink.close()
    assert (tmp_path / name).read_text() == KEPT


@pytest.mark.parametrize("name", ["drive.jsonl", "drive.mkv"])
def test_no_part_is_written_through_a_link_or_a_fifo_also_where_parts_may_be_replaced(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], victim: Path, name: str
) -> None:
    stem, suffix = name.split(".")
    (tmp_path / f"{stem}-0000.{suffix}").symlink_to(victim)
    sink = open_sink(str(tmp_path / name), split_minutes=1.0, overwrite=True)
    sink.open(stream_format(fps=25.0))
    for number in range(3):
        if number == 1:
            (tmp_path / f"{stem}-0002.{suffix}").symlink_to(victim)
            os.mkfifo(tmp_path / f"{stem}-0003.{suffix}")
        sink.write(result(FRAME, number, capture_time_ns=61 * 10**9 * (number + 1)))
    sink.close()
    assert victim.read_text() == KEPT
    written = [Path(part["path"]).name for part in sink.describe()["parts"]]
    assert written == [f"{stem}-000{number}.{suffix}" for number in (1, 4, 5)]


def test_a_mask_replaces_a_link_that_stands_in_its_way(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], victim: Path
) -> None:
    sink = open_sink(f"masks:{tmp_path / 'masks'}")
    sink.open(stream_format())
    sink.write(result(FRAME, 0))
    place = tmp_path / "masks" / "frame_000001.png"
    place.symlink_to(victim)
    sink.write(result(FRAME, 1))
    sink.close()
    assert victim.read_text() == KEPT
    assert not place.is_symlink()
    assert place.read_bytes().startswith(b"\x89PNG")


def test_a_link_that_was_named_is_followed_as_before(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], victim: Path
) -> None:
    (tmp_path / "drive.jsonl").symlink_to(victim)
    sink = open_sink(str(tmp_path / "drive.jsonl"), overwrite=True)
    sink.open(stream_format())
    sink.write(result(FRAME, 0))
    sink.close()
    assert (tmp_path / "drive.jsonl").is_symlink()
    assert victim.read_text().startswith("{")
