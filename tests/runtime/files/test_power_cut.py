"""What was announced is on the disk: a disk that forgets what was not flushed has it whole."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import power_cut
import pytest
import typer
from command_parts import RunningCommand, frames_of
from mask_files import labels_in
from power_cut import ForgetfulDisk
from sink_parts import result
from stream_parts import until
from typer.testing import CliRunner

from danet_runtime.bundle import Bundle
from danet_runtime.bundle.signature import generate_key_pair, read_signing_key
from danet_runtime.bundle.verification import sign_bundle
from danet_runtime.cli.commands.keygen import keygen
from danet_runtime.files.atomic import replacing, replacing_folder, write_json
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.sinks import StreamFormat
from danet_runtime.sinks.json_lines import JsonLinesSink
from danet_runtime.sinks.masks import MasksSink
from danet_runtime.sinks.writing.video_file import FRAGMENT_S, VideoFile
from danet_train.files.atomic import new_folder, write_whole

pytestmark = pytest.mark.skipif(power_cut.why_not() is not None, reason=str(power_cut.why_not()))

FORMAT = StreamFormat((48, 64), 25.0, (), np.zeros((256, 3), np.uint8))
FPS = 25.0


@pytest.fixture(scope="module")
def disk() -> Iterator[ForgetfulDisk]:
    with ForgetfulDisk() as mounted:
        yield mounted


def picture(number: int) -> np.ndarray:
    return np.full((48, 64, 3), number % 200, np.uint8)


def content(folder: Path) -> dict[str, bytes]:
    """All files but those in what is unfinished or retired, which the next start removes."""
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if not name.startswith(".")}


def a_file(at: Path) -> Path:
    with replacing(at / "new" / "deep" / "file.bin") as partial:
        partial.write_bytes(b"x" * 100_000)
    return at / "new" / "deep" / "file.bin"


def a_file_replaced(at: Path) -> Path:
    write_json(at / "report.json", {"version": 1})
    write_json(at / "report.json", {"version": 2})
    return at / "report.json"


def a_folder(at: Path) -> Path:
    for version in (1, 2):
        with replacing_folder(at / "bundle", "mark", overwrite=version == 2) as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / "weights").write_bytes(bytes([version]) * 300_000)
            (folder / "mark").touch()
    return at / "bundle"


def a_folder_of_training(at: Path) -> Path:
    for overwrite in (False, True):
        with new_folder(at / "scenes", overwrite=overwrite) as folder:
            for number in range(50):
                (folder / f"{number}.png").write_bytes(bytes([number]) * 5000)
    return at / "scenes"


def a_checkpoint(at: Path) -> Path:
    write_whole(at / "runs" / "c.pt", b"weights" * 10_000)
    return at / "runs" / "c.pt"


def keys(at: Path) -> Path:
    app = typer.Typer()
    app.command()(keygen)
    assert CliRunner().invoke(app, [str(at / "keys" / "vehicle.pem")]).exit_code == 0
    return at / "keys"


def masks(at: Path) -> Path:
    sink = MasksSink(at / "masks")
    sink.open(FORMAT)
    for number in range(20):
        sink.write(result(picture(number), number))
    sink.close()
    return at / "masks"


def lines(at: Path) -> Path:
    sink = JsonLinesSink(at / "lines" / "out.jsonl")
    sink.open(FORMAT)
    for number in range(20):
        sink.write(result(picture(number), number))
    sink.close()
    return at / "lines"


def a_video(at: Path, suffix: str = ".mp4") -> Path:
    video = VideoFile(at / "videos" / f"out{suffix}", (48, 64), FPS)
    for number in range(40):
        video.write(picture(number))
    video.close()
    return at / "videos"


def a_flight_recorder(at: Path) -> Path:
    box = FlightRecorder()
    box.open(FORMAT)
    box.write(result(picture(0)))
    folder = box.save(at / "boxes" / "box")
    box.close()
    return folder


MAKERS: list[Callable[[Path], Path]] = [
    a_file,
    a_file_replaced,
    a_folder,
    a_folder_of_training,
    a_checkpoint,
    keys,
    masks,
    lines,
    a_video,
    a_flight_recorder,
]


def test_the_disk_forgets_what_was_not_flushed(disk: ForgetfulDisk) -> None:
    (disk.path / "forgotten").write_bytes(b"x" * 100_000)
    with disk.after_power_cut() as left:
        assert not (left / "forgotten").exists() or not (left / "forgotten").stat().st_size


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_announced_is_whole_after_a_power_cut(
    disk: ForgetfulDisk, make: Callable[[Path], Path]
) -> None:
    at = disk.path / make.__name__
    announced = make(at)
    before = content(announced.parent)
    assert before
    with disk.after_power_cut() as left:
        assert content(left / announced.parent.relative_to(disk.path)) == before


def test_a_signature_is_on_the_disk_when_it_was_announced(disk: ForgetfulDisk, bundle: Bundle) -> None:
    with replacing_folder(disk.path / "signed", "manifest.json") as folder:
        shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
    private = disk.path / "key.pem"
    private.write_bytes(generate_key_pair(None)[0])
    private.chmod(0o600)
    written = sign_bundle(disk.path / "signed", read_signing_key(private))
    with disk.after_power_cut() as left:
        assert content(left / "signed") == content(disk.path / "signed")
        assert (left / "signed" / written.name).stat().st_size


class Writer:
    """Writes one output in a thread until it is told to end, and remembers when which frame was written."""

    def __init__(self, sink: Any, write: Callable[[int], None]) -> None:
        self.sink = sink
        self.times: list[float] = []
        self._write = write
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(1 / FPS):
            self._write(number)
            self.times.append(time.monotonic())
            number += 1

    def owed(self) -> int:
        """How many frames must be on the disk now: those from before what it says that it has not flushed."""
        now = time.monotonic()
        since = now - self.sink.unflushed_s
        return sum(when < since for when in list(self.times))

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.sink.close()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_at_any_moment_a_power_cut_costs_no_more_than_what_was_not_flushed(
    disk: ForgetfulDisk, suffix: str
) -> None:
    at = disk.path / f"random{suffix}"
    moments = random.Random(suffix)
    video = VideoFile(at / f"out{suffix}", (48, 64), FPS)
    text, pictures = JsonLinesSink(at / "out.jsonl"), MasksSink(at / "masks")
    for sink in (text, pictures):
        sink.open(FORMAT)
    writers = [
        Writer(video, lambda number: video.write(picture(number))),
        Writer(text, lambda number: text.write(result(picture(number), number))),
        Writer(pictures, lambda number: pictures.write(result(picture(number), number, label=number % 200))),
    ]
    announced: list[int] = []
    over = threading.Event()

    def replace_again_and_again() -> None:
        version = 0
        while not over.wait(moments.uniform(0, 0.2)):
            version += 1
            with replacing_folder(at / "bundle", "mark", overwrite=True) as folder:
                (folder / "mark").write_text(f"{version}" * 1000)
                (folder / "weights").write_bytes(version.to_bytes(4, "big") * 20_000)
            write_json(at / "report.json", [version] * 500)
            announced.append(version)

    replacing_thread = threading.Thread(target=replace_again_and_again, daemon=True)
    replacing_thread.start()
    fragment = round(FRAGMENT_S * FPS) + 1
    try:
        until(lambda: announced and all(writer.owed() > fragment for writer in writers), 60)
        for _ in range(8):
            time.sleep(moments.uniform(0, 1.2))
            least = announced[-1]
            frames, count, files = (writer.owed() for writer in writers)
            with disk.after_power_cut() as left:
                here = left / at.name
                version = json.loads((here / "report.json").read_text())[0]
                assert version >= least
                mark = (here / "bundle" / "mark").read_text()
                number = int(mark[: len(mark) // 1000])
                assert mark == f"{number}" * 1000
                assert number >= least
                assert (here / "bundle" / "weights").read_bytes() == number.to_bytes(4, "big") * 20_000
                whole = (here / "out.jsonl").read_bytes().split(b"\n")[:-1]
                assert [json.loads(line)["frame_id"] for line in whole] == list(range(len(whole)))
                assert len(whole) >= count
                for place in range(files):
                    mask = labels_in(here / "masks" / f"frame_{place:06d}.png")
                    assert (mask == place % 200).all()
                assert frames_of(here / f"out{suffix}") >= frames - fragment
        for writer in writers:
            until(lambda writer=writer: writer.sink.unflushed_s < 1.5, 60)
    finally:
        over.set()
        replacing_thread.join()
        for writer in writers:
            writer.close()
    with disk.after_power_cut() as left:
        assert frames_of(left / at.name / f"out{suffix}") == len(writers[0].times)
        assert content(left / at.name / "masks") == content(at / "masks")
        assert (left / at.name / "out.jsonl").read_bytes() == (at / "out.jsonl").read_bytes()


@pytest.mark.slow
def test_what_a_run_says_that_it_wrote_is_on_the_disk_when_it_ends(
    disk: ForgetfulDisk, bundle: Bundle
) -> None:
    at = disk.path / "run"
    outputs = ("-o", "out.mp4", "--masks", "masks", "--sink", "jsonl:out.jsonl", "--report", "report.json")
    source = "synthetic:?size=48x64&fps=50&frames=250"
    command = RunningCommand(at, bundle.path, source, *outputs, "--flight-recorder", "box").ready()
    command.until(lambda: (at / "out.mp4").exists())
    os.kill(command.pid, signal.SIGUSR1)
    command.until(lambda: "frames written to box/" in command.messages)
    with disk.after_power_cut() as left:
        (box,) = (left / "run" / "box").iterdir()
        assert len(list(FlightRecording(box))) > 0
    assert command.wait() == 0, command.messages
    paths = [line.removeprefix("written: ") for line in command.printed.splitlines() if "written: " in line]
    assert len(paths) == 5
    with disk.after_power_cut() as left:
        for place in paths:
            kept = left / "run" / place
            assert (content(kept) if kept.is_dir() else kept.read_bytes()) == (
                content(at / place) if kept.is_dir() else (at / place).read_bytes()
            )
            assert content(kept) if kept.is_dir() else kept.stat().st_size
        assert frames_of(left / "run" / "out.mp4") == frames_of(at / "out.mp4") > 0
    command.leaves_nothing()
