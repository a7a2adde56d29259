"""`danet run` ended from outside, in every state of its stream: outputs finished, counted, nothing left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from command_parts import RunningCommand, frames_of, lines_of, report_of, sink_of
from mjpeg_camera import MjpegCamera

from danet_runtime.bundle import Bundle
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.recorder.writer import APART_S
from danet_runtime.sinks.shared.layout import segment_path

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

PATTERN = "synthetic:?size=48x64&fps=50"
FROZEN = "synthetic:?size=48x4&fps=50"  # it moves by four columns a frame
OUTPUTS = ("-o", "out.mp4", "--masks", "masks", "--sink", "jsonl:out.jsonl", "--report", "report.json")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningCommand]]:
    started: list[RunningCommand] = []

    def run(*arguments: object, **environment: str) -> RunningCommand:
        started.append(RunningCommand(tmp_path / "out", *arguments, **environment))
        return started[-1]

    yield run
    for command in started:
        command.kill()


@pytest.fixture
def shm() -> Iterator[str]:
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    segment_path(name).unlink(missing_ok=True)


@pytest.fixture
def mjpeg() -> Iterator[MjpegCamera]:
    with MjpegCamera() as server:
        yield server


def check_outputs(command: RunningCommand) -> dict:
    """Every output holds what the report says; nothing else is left."""
    report = report_of(command.folder / "report.json")
    written = {kind: sink_of(report, kind)["written"] for kind in ("video", "masks", "jsonl")}
    if written["video"]:
        assert frames_of(command.folder / "out.mp4") == written["video"]
    else:
        assert not (command.folder / "out.mp4").exists()
    assert len(list(command.folder.glob("masks/*.png"))) == written["masks"]
    for mask in command.folder.glob("masks/*.png"):
        assert cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) is not None
    if written["jsonl"]:
        assert len(lines_of(command.folder / "out.jsonl")) == written["jsonl"]
    command.leaves_nothing()
    return report


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGHUP]
)
def test_a_camera_that_is_ready_ends_as_asked(
    start: Callable[..., RunningCommand], bundle: Bundle, shm: str, number: int
) -> None:
    command = start(bundle.path, PATTERN, *OUTPUTS, "--sink", f"shm:{shm}").ready()
    command.until(lambda: (command.folder / "out.mp4").exists())
    assert command.end(number) == 0, command.messages
    report = check_outputs(command)
    assert (report["ending"], report["error"], report["health"]["state"]) == ("stopped", None, "ready")
    assert report["frames"]["out"] > 0
    assert not segment_path(shm).exists()


def test_it_ends_as_asked_while_it_starts(
    start: Callable[..., RunningCommand], bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    slow = bundle_maker(tmp_path / "slow", (1080, 1920))  # its golden frame takes a while
    command = start(slow.path, PATTERN, *OUTPUTS)
    command.until(lambda: (command.folder / "out.jsonl").exists())  # sinks are opened just before
    assert not command.is_ready
    assert command.end(signal.SIGTERM) in (0, 1)  # 1: nothing had begun that could be finished
    if command.process.returncode == 0:
        assert check_outputs(command)["ending"] == "stopped"
    command.leaves_nothing()


@pytest.mark.parametrize("after_s", [0.15 * step for step in range(1, 13)])
def test_it_ends_as_asked_at_any_moment_of_its_start(
    start: Callable[..., RunningCommand], bundle: Bundle, shm: str, after_s: float
) -> None:
    command = start(bundle.path, PATTERN, *OUTPUTS, "--sink", f"shm:{shm}", "--sink", "gst:fakesink")
    time.sleep(after_s)
    code = command.end(signal.SIGTERM)
    assert code in (0, 1, -signal.SIGTERM)  # before Python runs any of its own code, the signal ends it
    if code == 0:
        check_outputs(command)
    elif code == 1:
        assert "danet: interrupted" in command.messages
        assert list(command.folder.iterdir()) == []
    command.leaves_nothing()
    assert not segment_path(shm).exists()


def test_it_ends_as_asked_while_it_is_degraded(start: Callable[..., RunningCommand], bundle: Bundle) -> None:
    command = start(bundle.path, FROZEN, *OUTPUTS).ready()
    command.until(lambda: "danet: degraded" in command.messages)
    assert command.end(signal.SIGTERM) == 0, command.messages
    report = check_outputs(command)
    assert (report["ending"], report["health"]["state"]) == ("stopped", "degraded")
    assert "same frame" in report["health"]["reasons"][0]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_ends_as_asked_while_a_lost_camera_is_opened_again(
    start: Callable[..., RunningCommand], bundle: Bundle, mjpeg: MjpegCamera, number: int
) -> None:
    command = start(bundle.path, mjpeg.uri, *OUTPUTS, "--source-timeout-s", 0.5).ready()
    command.until(lambda: (command.folder / "out.mp4").exists())
    mjpeg.silent.set()
    command.until(mjpeg.asked.is_set)  # it is being opened, and says nothing for ten seconds
    asked = time.monotonic()
    assert command.end(number) == 0, command.messages
    assert time.monotonic() - asked < 8  # before the opening would have ended by itself
    report = check_outputs(command)
    assert (report["ending"], report["error"], report["health"]["state"]) == ("stopped", None, "stale")
    assert "is lost" in str(report["health"]["events"])


@pytest.mark.parametrize("policy", ["every", pytest.param("latest", marks=pytest.mark.slow)])
def test_a_slow_output_is_finished_with_what_was_captured(
    start: Callable[..., RunningCommand], bundle: Bundle, tmp_path: Path, policy: str
) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    taken = bytearray()
    over = threading.Event()

    def read_slowly() -> None:
        while not over.wait(0.02):
            try:
                taken.extend(os.read(reading, 512))  # about a line
            except BlockingIOError:
                continue

    reader = threading.Thread(target=read_slowly, daemon=True)
    reader.start()
    outputs = ("--sink", f"jsonl:{pipe}", "-o", "out.mp4", "--report", "report.json", "--overwrite")
    source = "synthetic:?size=48x64&fps=500"
    command = start(bundle.path, source, "--policy", policy, *outputs).ready()
    command.until(lambda: len(taken) > 4096)
    assert command.end(signal.SIGTERM) == 0, command.messages
    over.set()
    reader.join()
    while rest := os.read(reading, 1 << 16):
        taken.extend(rest)
    os.close(reading)
    report = report_of(command.folder / "report.json")
    sink = sink_of(report, "jsonl")
    assert (len(taken.splitlines()), report["ending"]) == (sink["written"], "stopped")
    assert frames_of(command.folder / "out.mp4") == sink_of(report, "video")["written"]
    if policy == "every":
        assert sink["written"] == report["frames"]["out"] > 0
    command.leaves_nothing()


def test_an_output_that_takes_nothing_holds_up_neither_the_others_nor_the_end(
    start: Callable[..., RunningCommand], bundle: Bundle, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    outputs = ("--sink", f"jsonl:{pipe}", "-o", "out.mp4", "--report", "report.json", "--overwrite")
    command = start(bundle.path, "synthetic:?size=48x64&fps=500", *outputs).ready()
    command.until(lambda: "busy for more than 5 s with one frame" in command.messages)
    assert command.end(signal.SIGTERM) == 1, command.messages
    os.close(reading)
    assert (
        "source.jsonl was given up: it did not finish one frame within 5 s; its output is cut"
        in command.messages
    )
    report = report_of(command.folder / "report.json")
    assert frames_of(command.folder / "out.mp4") == sink_of(report, "video")["written"]
    assert sink_of(report, "video")["written"] > sink_of(report, "jsonl")["written"]
    command.leaves_nothing()


def test_further_signals_cut_nothing_short(
    start: Callable[..., RunningCommand], bundle: Bundle, video_maker: Callable[..., Path], tmp_path: Path
) -> None:
    source = video_maker(tmp_path / "in.mp4", 600, (480, 640))
    command = start(bundle.path, source, *OUTPUTS).ready()
    command.until(lambda: (command.folder / "out.mp4").exists())
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT] * 5
    assert command.end(*numbers, apart_s=0.005) == 1, command.messages
    report = check_outputs(command)
    assert report["ending"] == "stopped"
    assert 0 < report["frames"]["out"] < 600
    assert sink_of(report, "video")["written"] == report["frames"]["out"]
    assert report["frames"]["unfinished"] <= 1  # what was being read when the first came
    assert f"interrupted after {report['frames']['out']} frames" in command.messages


def test_a_fault_keeps_its_exit_code_whatever_comes_while_it_closes(
    start: Callable[..., RunningCommand], bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    slow = bundle_maker(tmp_path / "slow", (1080, 1920))
    limit = ("--inference-timeout-s", 0.001)  # no inference is that fast: for the stream each one hangs
    box = ("--flight-recorder", "box")
    command = start(slow.path, "synthetic:?size=1080x1920&fps=50", *OUTPUTS, *limit, *box)
    command.until(lambda: "danet: fault" in command.messages)
    assert command.end(*[signal.SIGTERM] * 5, apart_s=0.05) == 3, command.messages
    report = check_outputs(command)
    assert (report["ending"], report["health"]["state"]) == ("failed", "fault")
    assert "inference has not returned for 0.001 s" in report["error"]
    assert report["error"] in command.messages
    (written,) = (command.folder / "box").iterdir()
    assert (written / "blackbox.json").is_file() or list(written.glob("*.json"))


def test_asking_for_a_flight_recorder_before_there_is_one_ends_nothing(
    start: Callable[..., RunningCommand], bundle: Bundle, tmp_path: Path
) -> None:
    command = start(
        bundle.path, f"{PATTERN}&frames=40", "--flight-recorder", "box", "--report", "report.json"
    )
    # What a process handles is told by the kernel; before Python runs any code of danet nothing can be done.
    command.until(lambda: handles(command.process.pid, signal.SIGUSR1))
    for _ in range(3):
        command.process.send_signal(signal.SIGUSR1)
        assert not (command.folder / "report.json").exists()
        time.sleep(0.05)
    assert command.wait() == 0, command.messages
    assert report_of(command.folder / "report.json")["frames"]["in"] == 40
    command.leaves_nothing()


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_storm_of_requests_makes_few_boxes_and_no_threads(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    command = start(bundle.path, PATTERN, "--flight-recorder", "box", "--report", "report.json").ready()
    command.until(lambda: handles(command.process.pid, signal.SIGUSR1))
    pid = command.process.pid
    before = most = threads_of(pid)
    began = time.monotonic()
    for _ in range(200):
        os.kill(pid, signal.SIGUSR1)
        time.sleep(0.005)
        most = max(most, threads_of(pid))
    assert command.end(signal.SIGTERM) == 0, command.messages
    pauses = (time.monotonic() - began) / APART_S  # one, unless the machine is busy
    assert most - before <= 1
    sink = sink_of(report_of(command.folder / "report.json"), "flight_recorder")
    assert 1 <= len(sink["written_to"]) <= 2 + pauses  # at the beginning, after each pause, at the end
    assert sink["unwritten"] == []
    for box in sink["written_to"]:
        assert len(list(FlightRecording(command.folder / box))) > 0
    command.leaves_nothing()


@pytest.mark.parametrize("attempt", range(3))
def test_requests_up_to_the_last_moment_do_not_change_the_exit_code(
    start: Callable[..., RunningCommand], bundle: Bundle, attempt: int
) -> None:
    command = start(
        bundle.path, f"{PATTERN}&frames=30", "--flight-recorder", "box", "--report", "report.json"
    )
    command.until(lambda: handles(command.process.pid, signal.SIGUSR1))
    while command.process.poll() is None:
        command.process.send_signal(signal.SIGUSR1)
        time.sleep(0.001)
    assert command.process.returncode == 0, command.messages
    assert "written: report.json" in command.printed
    command.leaves_nothing()


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")]
    return bool(caught >> (number - 1) & 1)


def test_requests_are_survived_before_anything_slow_is_loaded() -> None:
    script = """
        import os, signal, sys
        from danet_runtime.cli import app, entry
        def build_app():
            os.kill(os.getpid(), signal.SIGUSR1)
            print(sorted({"cv2", "onnxruntime", "rich.console"} & set(sys.modules)))
            raise SystemExit(0)
        app.build_app = build_app
        entry.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_signal_that_was_ignored_from_the_start_stays_ignored(bundle: Bundle, tmp_path: Path) -> None:
    frames = "synthetic:?size=48x64&fps=50&frames=100"
    command = RunningCommand(tmp_path / "out", bundle.path, frames, *OUTPUTS, wrapper=("nohup",)).ready()
    assert command.end(signal.SIGHUP) == 0
    report = check_outputs(command)
    assert (report["ending"], report["frames"]["in"]) == ("source ended", 100)


def test_a_port_that_nobody_answers_on_is_left_while_it_is_opened_for_the_first_time(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}/video"
        command = start(bundle.path, uri, *OUTPUTS)
        silent.settimeout(30)
        with silent.accept()[0]:  # it waits for an answer
            asked = time.monotonic()
            assert command.end(signal.SIGTERM) == 1
            assert time.monotonic() - asked < 8
    assert "danet: interrupted" in command.messages
    assert list(command.folder.iterdir()) == []
    command.leaves_nothing()
