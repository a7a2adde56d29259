"""An output that somebody takes away, or whose disk is full for a while, goes on and says what is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from sink_parts import result
from small_disk import NAMESPACES, can_mount

from danet_runtime.sinks import StreamFormat, open_sink
from danet_runtime.sinks.protocol.sink import Sink
from danet_runtime.sinks.writing import parts, picture_folder

HW = (48, 64)


@pytest.fixture(autouse=True)
def looking_at_every_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(picture_folder, "LOOK_EVERY_S", 0.0)


def write(sink: Sink, *ids: int) -> None:
    for frame_id in ids:
        sink.write(result(np.full((*HW, 3), frame_id, np.uint8), frame_id, media_time_ms=40.0 * frame_id))


def count_in(path: Path) -> int:
    """How many results a file holds, read by other code."""
    if path.suffix == ".jsonl":
        return len(path.read_text().splitlines())
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def taken_away(file: Path, how: str) -> None:
    if how == "removed":
        file.unlink()
    elif how == "moved":
        file.rename(file.with_name("elsewhere" + file.suffix))
    elif how == "replaced":
        file.unlink()
        file.write_text("somebody else's")
    elif how == "folder removed":
        shutil.rmtree(file.parent)
    else:
        file.parent.rename(file.parent.with_name("away"))


HOW = ["removed", "moved", "replaced", "folder removed", "folder moved"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("suffix", [".mp4", ".jsonl"])
@pytest.mark.parametrize("split", [None, 60.0])
def test_a_file_that_is_taken_away_goes_on_in_the_next_and_that_is_said(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], how: str, suffix: str, split: float | None
) -> None:
    path = tmp_path / "out" / f"drive{suffix}"
    first = path if split is None else path.with_name(f"drive-0000{suffix}")
    sink = open_sink(path, split_minutes=split)
    sink.open(stream_format(HW))
    write(sink, 0, 1, 2)
    taken_away(first, how)
    write(sink, 3, 4)
    sink.close()
    assert count_in(path.with_name(f"drive-0001{suffix}")) == 2
    description = sink.describe()
    assert description["frames"] == 5
    assert len(description["holes"]) == 2
    assert f"{first} was {'replaced' if how == 'replaced' else ''}" in description["holes"][0]
    assert description["holes"][0].endswith(": 3")
    assert "it goes on in" in description["holes"][1]
    if how == "replaced":
        assert first.read_text() == "somebody else's"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("suffix", [".mp4", ".jsonl"])
def test_a_file_that_is_gone_at_the_end_is_said(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], how: str, suffix: str
) -> None:
    path = tmp_path / "out" / f"drive{suffix}"
    sink = open_sink(path)
    sink.open(stream_format(HW))
    write(sink, 0, 1, 2)
    taken_away(path, how)
    sink.close()
    (hole,) = sink.describe()["holes"]
    assert hole.endswith(
        "its frames are lost: 3" if how not in ("moved", "folder moved") else "not there any more: 3"
    )


def test_what_goes_on_takes_no_name_that_is_taken(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    path = tmp_path / "drive.jsonl"
    path.with_name("drive-0001.jsonl").write_text("another run's")
    sink = open_sink(path)
    sink.open(stream_format(HW))
    write(sink, 0)
    path.unlink()
    write(sink, 1)
    sink.close()
    assert path.with_name("drive-0001.jsonl").read_text() == "another run's"
    assert count_in(path.with_name("drive-0002.jsonl")) == 1


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_folder_of_masks_that_is_removed_is_made_again_and_said(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], at_the_end: bool
) -> None:
    folder = tmp_path / "masks"
    sink = open_sink(folder)
    sink.open(stream_format(HW))
    write(sink, 0, 1, 2)
    shutil.rmtree(folder)
    if not at_the_end:
        write(sink, 3)
    sink.close()
    (hole,) = sink.describe()["holes"]
    assert hole.startswith(f"{folder} was")
    assert hole.endswith("those before are lost: 3")
    assert folder.exists() != at_the_end


def test_masks_that_somebody_uses_up_are_no_hole(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    sink = open_sink(tmp_path / "masks")
    sink.open(stream_format(HW))
    for number in range(3):
        write(sink, number)
        next((tmp_path / "masks").glob("*.png")).unlink()
    sink.close()
    assert sink.describe()["holes"] == []


FULL_FOR_A_WHILE = """
import errno, json, subprocess, sys, time
from pathlib import Path
import numpy as np
from danet_runtime.errors import SinkError
from danet_runtime.results.result import Result
from danet_runtime.sinks import open_sink
from danet_runtime.sinks.protocol.sink import StreamFormat

disk, name = Path(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
sink = open_sink(disk / name)
sink.open(StreamFormat((96, 128), 25.0, [], np.zeros((256, 3), np.uint8)))
rng, number, lost = np.random.default_rng(1), 0, []

def write():
    global number
    frame = rng.integers(0, 256, (96, 128, 3), np.uint8)
    number += 1
    try:
        labels, when_ns = frame[..., 0].copy(), time.monotonic_ns()
        sink.write(Result(frame, labels, number, when_ns, 1.0, {}, media_time_ms=40.0 * number))
    except SinkError as error:
        assert "No space left on device" in str(error), error
        lost.append(number)

for _ in range(20):
    write()
with (disk / "ballast").open("wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC
while len(lost) < 30:
    write()
    assert number < 5000
(disk / "ballast").unlink()
until = time.monotonic() + 20
while lost[-1] == number:
    assert time.monotonic() < until
    time.sleep(0.01)
    write()
for _ in range(20):
    write()
sink.close()
files = sorted(disk.rglob("*.*"))
counts = []
for file in files:
    if file.suffix == ".jsonl":
        ids = [json.loads(line)["frame_id"] for line in file.read_text().splitlines()]
        counts.append(len(ids))
        assert not set(ids) & set(lost)
    elif file.suffix == ".mp4":
        import av
        with av.open(str(file)) as video:
            counts.append(sum(1 for _ in video.decode(video=0)))
    else:
        counts.append(1)
found = {"sink": sink.describe(), "files": [file.name for file in files]}
print(json.dumps({"number": number, "lost": len(lost), "counts": counts, **found}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="mounting a small tmpfs is not permitted here")
@pytest.mark.parametrize("name", ["out.mp4", "out.jsonl", "masks"])
def test_an_output_goes_on_when_a_full_disk_has_room_again(tmp_path: Path, name: str) -> None:
    command = [*NAMESPACES, sys.executable, "-c", textwrap.dedent(FULL_FOR_A_WHILE), str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    kept, written = sum(seen["counts"]), seen["number"] - seen["lost"]
    assert seen["sink"]["frames"] == written
    if name == "out.mp4":
        assert written - 20 <= kept <= written  # a fragment of half a second may be missing at the cut
        assert seen["files"] == ["out-0001.mp4", "out.mp4"]
    else:
        assert kept == written
    if name != "masks":
        assert "No space left on device" in seen["sink"]["holes"][0]
        assert "it goes on in" in seen["sink"]["holes"][1]
