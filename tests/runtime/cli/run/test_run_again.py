"""`danet run` as a supervisor runs it: started again after a kill, all day long, its evidence kept."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_parts import RunningCommand, frames_of, lines_of, report_of

from danet_runtime.bundle import Bundle
from danet_runtime.cli.live.outputs import OutputOptions, Outputs
from danet_runtime.cli.live.placeholders import Placeholders
from danet_runtime.errors import UsageError
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.sinks.protocol.sink import StreamFormat

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

CAMERA = "synthetic:?size=48x64&fps=50"


def outputs_of(cameras: list[str], **options: Any) -> Outputs:
    return Outputs.of(cameras, OutputOptions(**options))


def test_the_same_command_works_again_after_a_kill_and_what_was_written_stays(
    bundle: Bundle, tmp_path: Path
) -> None:
    outputs = ("-o", "drive-{start}.mp4", "--sink", "jsonl:drive-{start}.jsonl")
    killed = RunningCommand(tmp_path / "out", bundle.path, CAMERA, *outputs).ready()
    killed.until(lambda: [file for file in killed.folder.glob("*.mp4") if file.stat().st_size > 2000])
    killed.kill()
    (video,) = killed.folder.glob("*.mp4")
    assert re.fullmatch(r"drive-\d{8}T\d{6}Z", video.stem)
    before = {file.name: file.read_bytes() for file in killed.folder.iterdir()}
    time.sleep(1)
    again = RunningCommand(tmp_path / "out", bundle.path, f"{CAMERA}&frames=40", *outputs)
    assert again.wait() == 0, again.messages
    again.leaves_nothing()
    assert {name: (again.folder / name).read_bytes() for name in before} == before
    assert frames_of(video) > 0
    (report,) = again.folder.glob("*.json")
    assert report.with_suffix(".mp4").exists()
    assert f"written: {report.with_suffix('.jsonl').name}" in again.printed
    assert len(list(again.folder.glob("*.mp4"))) == 2


def test_what_runs_all_day_is_written_in_parts_that_the_report_lists(bundle: Bundle, tmp_path: Path) -> None:
    split = ("--split-minutes", 0.01)
    command = RunningCommand(
        tmp_path / "out", bundle.path, CAMERA, "-o", "drive.mp4", "--sink", "out.jsonl", *split
    ).ready()
    command.until(lambda: (command.folder / "drive-0002.mp4").exists())
    assert command.end(signal.SIGTERM) == 0, command.messages
    command.leaves_nothing()
    sinks = report_of(command.folder / "drive.json")["cameras"][0]["sinks"]
    for sink, count in zip(sinks, (frames_of, lambda path: len(lines_of(path))), strict=True):
        assert len(sink["parts"]) >= 3
        assert sum(part["frames"] for part in sink["parts"]) == sink["written"] == sink["frames"]
        for part in sink["parts"]:
            assert count(command.folder / part["path"]) == part["frames"]
            assert f"written: {part['path']}" in command.printed or len(sink["parts"]) > 8


def test_of_many_parts_the_first_and_the_last_are_told(
    danet: Callable, bundle: Bundle, tmp_path: Path
) -> None:
    split = ("--split-minutes", 0.001, "--policy", "every")
    done = danet("run", bundle.path, f"{CAMERA}&frames=50", "--sink", "out.jsonl", *split)
    assert done.returncode == 0, done.stderr
    parts = sorted(tmp_path.glob("out-*.jsonl"))
    assert len(parts) > 8
    assert f"written: out-0000.jsonl to {parts[-1].name}, {len(parts)} parts" in done.stdout


def test_placeholders_are_filled_everywhere_with_one_start() -> None:
    outputs = outputs_of(
        ["front", "rear"],
        output=Path("{start}/{camera}.mp4"),
        masks=Path("masks-{camera}"),
        further=["shm:{camera}", "gst:x caps={ I420, NV12 } ! filesink location={camera}.mkv", "window:"],
        flight_recorder=Path("box-{start}"),
    )
    video = Path(outputs.sinks["front"][0])
    assert re.fullmatch(r"\d{8}T\d{6}Z", video.parent.name)
    assert outputs.sinks["rear"] == [
        f"{video.parent}/rear.mp4",
        "masks:masks-rear",
        "shm:rear",
        "gst:x caps={ I420, NV12 } ! filesink location=rear.mkv",
        "window:",
    ]
    assert outputs.recordings["rear"] == Path(f"box-{video.parent}/rear")
    assert outputs.report == video.parent / "cameras.json"


@pytest.mark.parametrize("text", ["a-{date}.mp4", "a-{}.mp4", "a-{start.mp4", "a-}.mp4", "udp://h:{port}"])
def test_an_unknown_placeholder_is_refused_with_those_that_are_known(text: str) -> None:
    with pytest.raises(UsageError, match=r"--sink: .* stands for nothing; expected {camera} .* or {start}"):
        Placeholders(1).fill(text, "front", "--sink")


def test_the_report_is_one_for_all_cameras() -> None:
    with pytest.raises(UsageError, match=r"leave \{camera\} out"):
        outputs_of(["front", "rear"], report=Path("{camera}.json"))
    assert outputs_of(["front"], report=Path("{camera}.json")).report == Path("front.json")
    assert outputs_of(["front", "rear"], masks=Path("m/{camera}")).report == Path("m/cameras/report.json")


def test_splitting_needs_something_to_split() -> None:
    with pytest.raises(UsageError, match="and none is written"):
        outputs_of(["front"], masks=Path("m"), split_minutes=1.0)


def test_a_part_of_a_run_before_is_no_source_and_no_place_for_another_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drive-0002.mp4").write_bytes(b"x")
    outputs = outputs_of(["front"], output=Path("drive.mp4"), split_minutes=1.0, overwrite=True)
    with pytest.raises(UsageError, match="SOURCE front and"):
        outputs.check({"front": "drive-0002.mp4"}, [])
    outputs.check({"front": CAMERA}, [])


def test_of_the_flight_recordings_only_the_newest_are_kept(tmp_path: Path) -> None:
    (tmp_path / "blackbox-mine").mkdir()  # not written by danet
    (tmp_path / "notes.txt").write_text("mine")
    written: list[Path] = []
    for _ in range(2):  # as after a restart
        box = FlightRecorder(tmp_path, keep=2)
        box.open(StreamFormat((48, 64), None, [], np.zeros((256, 3), np.uint8)))
        for reason in ("first", "second", "fault: it hangs"):
            box.request(reason)
            box.finish()
        box.close()
        written += box.written
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"blackbox-mine", "notes.txt", *(path.name for path in written[-2:])}
    assert json.loads((written[-1] / "blackbox.json").read_text())["reason"] == "fault: it hangs"
    with pytest.raises(UsageError, match="at least 1"):
        FlightRecorder(tmp_path, keep=0)
