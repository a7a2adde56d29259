"""`danet run` on a disk that really fills up: what is cut is named and counted, what came before is whole."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_parts import RunningCommand, frames_of, lines_of, report_of, sink_of
from mask_files import labels_in
from small_disk import can_mount, on_small_disk

from danet_runtime.bundle import Bundle
from danet_runtime.recorder.reader import FlightRecording

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_mount(), reason="mounting a small tmpfs is not permitted here"),
]

NO_SPACE = "No space left on device"


class SmallDisk:
    """Runs the command with the folder ``small`` on a disk of so many kilobytes."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self.small, self.kept = folder / "small", folder / "kept"
        self.small.mkdir()
        self.wrapper = on_small_disk(kilobytes, self.small, self.kept)
        self._folder = folder / "out"

    def run(self, *arguments: object, **environment: str) -> RunningCommand:
        """Run to the end."""
        command = RunningCommand(self._folder, *arguments, wrapper=self.wrapper, **environment)
        command.wait()
        command.leaves_nothing()
        assert [file.name for file in self.kept.rglob(".*")] == []
        return command


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A video that hardly compresses, so that what is made of it fills a disk."""
    path = tmp_path / "noise.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (128, 96))
    rng = np.random.default_rng(5)
    for _ in range(100):
        writer.write(rng.integers(0, 256, (96, 128, 3), np.uint8))
    writer.release()
    return path


def as_asked(policy: str) -> tuple[str, ...]:
    """`latest` as with a camera: at the video's own rate."""
    return ("--policy", policy, *(["--realtime"] if policy == "latest" else []))


@pytest.mark.parametrize(
    ("policy", "suffix"),
    [
        ("every", ".mp4"),
        pytest.param("latest", ".mp4", marks=pytest.mark.slow),
        pytest.param("every", ".mkv", marks=pytest.mark.slow),
        pytest.param("latest", ".mkv", marks=pytest.mark.slow),
    ],
)
def test_a_video_is_cut_where_the_disk_is_full_and_the_other_outputs_go_on(
    bundle: Bundle, tmp_path: Path, noise: Path, policy: str, suffix: str
) -> None:
    disk = SmallDisk(tmp_path, 300)
    outputs = ("-o", disk.small / f"out{suffix}", "--sink", "jsonl:out.jsonl", "--report", "report.json")
    command = disk.run(bundle.path, noise, *outputs, *as_asked(policy))
    assert command.process.returncode == 1
    assert f"out{suffix} cannot be written: {NO_SPACE}" in command.messages
    report = report_of(command.folder / "report.json")
    video, lines = sink_of(report, "video"), sink_of(report, "jsonl")
    assert (NO_SPACE in str(report["error"])) == video["given_up"] == (policy == "every")
    assert video["failed"] > 0
    assert NO_SPACE in video["holes"][0]
    assert 0 < video["written"] < 100
    # What is in it plays: all but what one fragment may hold.
    assert video["written"] - 14 <= frames_of(disk.kept / f"out{suffix}") <= video["written"]
    assert len(lines_of(command.folder / "out.jsonl")) == lines["written"] > video["written"]
    assert lines["written"] + lines["dropped"] == report["frames"]["out"]
    assert ("source.video was given up" in command.messages) == (policy == "every")
    assert ("danet: error: source.video is not whole" in command.messages) == (policy == "latest")


@pytest.mark.parametrize("policy", [pytest.param("every", marks=pytest.mark.slow), "latest"])
def test_masks_and_lines_before_the_disk_is_full_are_whole(
    bundle: Bundle, tmp_path: Path, noise: Path, policy: str
) -> None:
    disk = SmallDisk(tmp_path, 200)
    outputs = ("--masks", disk.small / "masks", "--sink", f"jsonl:{disk.small / 'out.jsonl'}")
    command = disk.run(
        bundle.path, noise, *outputs, "-o", "out.mp4", "--report", "report.json", *as_asked(policy)
    )
    assert command.process.returncode == 1
    assert "frame_000" in command.messages
    assert NO_SPACE in command.messages
    report = report_of(command.folder / "report.json")
    masks, lines, video = (sink_of(report, kind) for kind in ("masks", "jsonl", "video"))
    assert masks["given_up"] == (policy == "every")
    assert masks["failed"] > 0
    kept = sorted((disk.kept / "masks").iterdir())
    assert len(kept) == masks["written"] > 5
    for file in kept:
        assert labels_in(file).shape == (96, 128)
    assert len(lines_of(disk.kept / "out.jsonl")) == lines["written"] > 5
    assert frames_of(command.folder / "out.mp4") == video["written"] > masks["written"]


@pytest.mark.slow
def test_where_the_only_output_of_a_file_is_full_it_ends(bundle: Bundle, tmp_path: Path, noise: Path) -> None:
    disk = SmallDisk(tmp_path, 100)
    command = disk.run(bundle.path, noise, "--masks", disk.small / "masks", "--report", "report.json")
    assert command.process.returncode == 1
    report = report_of(command.folder / "report.json")
    assert report["ending"] == "failed"
    assert report["frames"]["in"] < 100
    assert NO_SPACE in command.messages


def test_a_report_that_does_not_fit_is_told_and_the_outputs_are_whole(
    bundle: Bundle, tmp_path: Path, noise: Path
) -> None:
    disk = SmallDisk(tmp_path, 4)
    report = disk.small / "report.json"
    command = disk.run(bundle.path, noise, "-o", "out.mp4", "--report", report)
    assert command.process.returncode == 1
    assert f"the report {report} cannot be written: {NO_SPACE}" in command.messages
    assert "100" in command.printed  # its figures
    assert frames_of(command.folder / "out.mp4") == 100
    assert list(disk.kept.iterdir()) == []


def test_a_full_disk_does_not_hide_a_fault_from_the_supervisor(
    bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    slow = bundle_maker(tmp_path / "slow", (1080, 1920))
    disk = SmallDisk(tmp_path, 4)
    source = "synthetic:?size=1080x1920&fps=50"
    outputs = ("--report", disk.small / "report.json", "--flight-recorder", disk.small / "box")
    command = disk.run(slow.path, source, "--inference-timeout-s", 0.001, *outputs)
    assert command.process.returncode == 3
    assert "inference has not returned for 0.001 s" in command.messages
    assert f"report.json cannot be written: {NO_SPACE}" in command.messages
    assert list(disk.kept.rglob("*.json")) == []


def test_a_flight_recorder_that_does_not_fit_is_told_counted_and_leaves_nothing(
    bundle: Bundle, tmp_path: Path, noise: Path
) -> None:
    disk = SmallDisk(tmp_path, 100)
    options = ("--flight-recorder", disk.small / "box", "--report", "report.json", "-o", "out.mp4")
    command = RunningCommand(
        tmp_path / "out",
        *(bundle.path, noise, *as_asked("latest"), *options),
        wrapper=disk.wrapper,
        PYTHONUNBUFFERED="1",
    ).ready()
    time.sleep(1.5)  # so that there is something to write
    os.kill(command.pid, signal.SIGUSR1)
    assert command.wait() == 1, command.messages
    command.leaves_nothing()
    assert f"the flight recording cannot be written to {disk.small / 'box'}" in command.messages
    assert NO_SPACE in command.messages
    report = report_of(command.folder / "report.json")
    sink = sink_of(report, "flight_recorder")
    assert (sink["written_to"], len(sink["unwritten"])) == ([], 1)
    assert frames_of(command.folder / "out.mp4") == sink_of(report, "video")["written"]
    assert [file for file in disk.kept.rglob("*") if file.is_file()] == []


def test_a_log_on_a_full_disk_ends_nothing(bundle: Bundle, tmp_path: Path) -> None:
    """Standard error is where a service's log goes, often on the disk of the outputs."""
    script = 'exec 2>/dev/full; exec "$@"'
    source = "synthetic:?size=48x4&fps=100&frames=250"  # frozen, which it would say
    command = RunningCommand(
        tmp_path / "out",
        *(bundle.path, source, "--report", "report.json", "-o", "out.mp4"),
        wrapper=("sh", "-c", script, "sh"),
    )
    assert command.wait() == 0
    report = report_of(command.folder / "report.json")
    assert (report["frames"]["in"], report["health"]["state"]) == (250, "degraded")
    assert frames_of(command.folder / "out.mp4") == sink_of(report, "video")["written"]
    command.leaves_nothing()


def test_a_result_that_cannot_be_printed_is_an_error_after_everything_was_written(
    bundle: Bundle, tmp_path: Path, noise: Path
) -> None:
    command = RunningCommand(
        tmp_path / "out",
        *(bundle.path, noise, "--report", "report.json", "-o", "out.mp4"),
        wrapper=("sh", "-c", 'exec 1>/dev/full; exec "$@"', "sh"),
    )
    assert command.wait() == 1
    assert f"standard output cannot be written: {NO_SPACE}" in command.messages
    assert report_of(command.folder / "report.json")["ending"] == "source ended"
    assert frames_of(command.folder / "out.mp4") == 100
    command.leaves_nothing()


def test_a_flight_recorder_that_fits_is_told_with_its_folder(
    bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    slow = bundle_maker(tmp_path / "slow", (1080, 1920))
    command = RunningCommand(
        tmp_path / "out",
        *(slow.path, "synthetic:?size=1080x1920&fps=50", "--inference-timeout-s", 0.001),
        *("--flight-recorder", "box", "--report", "report.json"),
    )
    assert command.wait() == 3
    (written,) = (command.folder / "box").iterdir()
    assert f"written: box/{written.name}" in command.printed
    report = report_of(command.folder / "report.json")
    assert sink_of(report, "flight_recorder")["written_to"] == [f"box/{written.name}"]
    assert FlightRecording(written) is not None
    command.leaves_nothing()
