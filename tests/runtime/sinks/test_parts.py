"""Outputs in parts: each whole, every result in exactly one, and nothing that is there replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sink_parts import result

from danet_runtime.errors import SinkError, UsageError
from danet_runtime.results.result import Result
from danet_runtime.sinks import Sink, StreamFormat, open_sink
from danet_runtime.sinks.json_lines import JsonLinesSink
from danet_runtime.sinks.writing.parts import FileSink, PartedSink, part_path, parts_of

FRAME = np.zeros((48, 64, 3), np.uint8)
SECOND = 10**9


def at(second: float, number: int, **more: object) -> Result:
    return result(FRAME, number, capture_time_ns=int(second * SECOND), **more)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".jsonl"])
def test_a_new_part_begins_after_so_many_minutes_of_the_camera(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], video_reader: Callable, suffix: str
) -> None:
    path = tmp_path / "new" / f"drive{suffix}"
    sink = open_sink(path, split_minutes=0.5)
    assert isinstance(sink, Sink)
    sink.open(stream_format(fps=1.0))
    seconds = [1000, 1010, 1029.9, 1030, 1050, 1061, 1200, 1201]  # then the camera was away for two minutes
    for number, second in enumerate(seconds):
        sink.write(at(second, number))
    sink.close()
    sink.close()
    files = [path.with_name(f"drive-{number:04d}{suffix}") for number in range(4)]
    assert sorted(path.parent.iterdir()) == files
    counts = [3, 2, 1, 2]
    description = sink.describe()
    assert description["frames"] == len(seconds)
    assert [(part["path"], part["frames"]) for part in description["parts"]] == [
        (str(file), count) for file, count in zip(files, counts, strict=True)
    ]
    if suffix == ".jsonl":
        ids = [[json.loads(line)["frame_id"] for line in file.read_text().splitlines()] for file in files]
        assert ids == [[0, 1, 2], [3, 4], [5], [6, 7]]
    else:
        assert [len(video_reader(file)[0]) for file in files] == counts


def test_a_file_is_split_by_its_own_time_however_fast_it_is_read(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    sink = open_sink(f"jsonl:{tmp_path / 'out.txt'}", split_minutes=1)
    sink.open(stream_format(fps=0.1))
    for number in range(13):
        sink.write(at(number / 1000, number, media_time_ms=10_000.0 * number))
    sink.close()
    assert [part["frames"] for part in sink.describe()["parts"]] == [6, 6, 1]


def test_parts_of_another_run_are_replaced_only_on_request(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    path = tmp_path / "drive.jsonl"
    old = part_path(path, 3)
    old.write_text("mine")
    (tmp_path / "drive-01.jsonl").write_text("another")
    assert parts_of(path) == [old]
    with pytest.raises(UsageError, match=r"drive-0003\.jsonl exists already"):
        open_sink(path, split_minutes=1)
    sink = open_sink(path, split_minutes=1, overwrite=True)
    sink.open(stream_format())
    sink.close()
    assert old.read_text() == "mine"  # nothing came, nothing was replaced


def test_parts_of_the_longest_name_are_files_of_their_own(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    path = tmp_path / f"{'n' * 249}.jsonl"
    sink = open_sink(path, split_minutes=1)
    sink.open(stream_format(fps=0.1))
    for number in range(13):
        sink.write(at(number / 1000, number, media_time_ms=10_000.0 * number))
    sink.close()
    assert [part["frames"] for part in sink.describe()["parts"]] == [6, 6, 1]
    assert parts_of(path) == sorted(tmp_path.iterdir()) == [part_path(path, number) for number in range(3)]
    assert part_path(path, 10**7) != part_path(path.with_stem("n" * 248 + "x"), 10**7)


def test_nothing_written_leaves_nothing_and_minutes_are_above_zero(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    sink = open_sink(tmp_path / "out.mp4", split_minutes=1)
    with pytest.raises(SinkError, match="not open"):
        sink.write(at(0, 0))
    sink.open(stream_format())
    sink.close()
    assert list(tmp_path.iterdir()) == []
    assert sink.describe()["parts"] == []
    with pytest.raises(UsageError, match="more than 0 minutes"):
        open_sink(tmp_path / "out.mp4", split_minutes=0)


class Unfinished(JsonLinesSink):
    """Cannot be finished, as on a full disk."""

    def close(self) -> None:
        super().close()
        raise SinkError(f"{self.path} is not whole")


def test_a_part_that_cannot_be_finished_is_told_and_the_next_begins(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    made: list[Path] = []

    def make(path: Path) -> FileSink:
        made.append(path)
        return (Unfinished if len(made) == 1 else JsonLinesSink)(path)

    sink = PartedSink(make, tmp_path / "out.jsonl", 1)
    sink.open(stream_format())
    sink.write(at(0, 0))
    sink.write(at(61, 1))
    sink.write(at(62, 2))
    sink.close()
    assert len((tmp_path / "out-0001.jsonl").read_text().splitlines()) == 2
    assert [part["frames"] for part in sink.describe()["parts"]] == [1, 2]
    assert sink.describe()["holes"] == [f"{tmp_path / 'out-0000.jsonl'} is not whole"]
