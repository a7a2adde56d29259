"""`danet run` beside readers, writers and receivers that are slow, absent, killed or started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_parts import RunningCommand, frames_of, report_of, sink_of
from small_disk import NAMESPACES, can_mount

from danet_runtime.bundle import Bundle
from danet_runtime.sinks import SharedMaskReader
from danet_runtime.sinks.shared.layout import FOLDER, segment_path
from danet_runtime.sources.gstreamer import has_element

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

SYSTEM_PYTHON = "/usr/bin/python3"
RECORDER = Path(__file__).resolve().parents[3] / "support" / "rtsp_recorder.py"
PATTERN = "synthetic:?size=48x64&fps=50"
FAST = "synthetic:?size=48x64&fps=100"
FRAMES = 300

needs_shm = pytest.mark.skipif(not FOLDER.is_dir(), reason="this system has no /dev/shm")
needs_encoder = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None or not any(map(has_element, ("x264enc", "openh264enc"))),
    reason="GStreamer with an encoder for H.264 is not installed",
)

READER = """
import sys, time
from danet_runtime.sinks import SharedMaskReader
with SharedMaskReader(sys.argv[1]) as reader:
    while True:
        mask = reader.latest(60_000)
        if mask is not None:
            print(mask.number, flush=True)
        time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningCommand]]:
    started: list[RunningCommand] = []

    def run(*arguments: object, folder: str = "out", wrapper: tuple[str, ...] = ()) -> RunningCommand:
        started.append(RunningCommand(tmp_path / folder, *arguments, wrapper=wrapper))
        return started[-1]

    yield run
    for command in started:
        command.kill()


@pytest.fixture
def shm() -> Iterator[str]:
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    for left in FOLDER.glob(f"*{name}*"):
        left.unlink()


def reader_of(name: str, pause_s: float) -> subprocess.Popen[bytes]:
    """A process that reads the newest mask now and then."""
    command = [sys.executable, "-c", textwrap.dedent(READER), name, str(pause_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(type=kind) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@needs_shm
def test_readers_that_are_absent_slow_or_killed_cost_the_stream_no_frame(
    start: Callable[..., RunningCommand], bundle: Bundle, shm: str
) -> None:
    """With `every` a sink that waited for its readers would hold up the frames of all others."""
    command = start(
        *(bundle.path, f"{FAST}&frames={FRAMES}", "--policy", "every", "--sink", f"shm:{shm}?frame=1"),
        *("-o", "out.mp4", "--report", "report.json"),
    ).ready()
    slow, killed = reader_of(shm, 5.0), reader_of(shm, 0.0)
    try:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.kill()
        assert slow.stdout is not None
        slow.stdout.readline()
        slow.send_signal(signal.SIGSTOP)
        assert command.wait() == 0, command.messages
    finally:
        for reader in (slow, killed):
            reader.kill()
            reader.wait()
            if reader.stdout is not None:
                reader.stdout.close()
    report = report_of(command.folder / "report.json")
    assert sink_of(report, "shm")["written"] == report["frames"]["out"] == FRAMES
    assert frames_of(command.folder / "out.mp4") == FRAMES
    assert not segment_path(shm).exists()
    command.leaves_nothing()


@needs_shm
def test_a_writer_that_is_killed_is_noticed_and_its_successor_is_found_by_the_same_reader(
    start: Callable[..., RunningCommand], bundle: Bundle, shm: str
) -> None:
    with SharedMaskReader(shm) as reader:
        first = start(bundle.path, PATTERN, "--sink", f"shm:{shm}", folder="first").ready()
        first.until(lambda: reader.latest(60_000))
        refused = start(bundle.path, PATTERN, "--sink", f"shm:{shm}", folder="second")
        assert refused.wait() == 1
        assert "in use by another process" in refused.messages
        refused.leaves_nothing()
        assert first.process.poll() is None
        first.kill()
        time.sleep(0.2)
        assert reader.latest(100) is None  # what is left has expired
        third = start(
            bundle.path, PATTERN, "--sink", f"shm:{shm}", "--report", "report.json", folder="third"
        ).ready()
        third.until(lambda: reader.latest(100))
        assert third.end(signal.SIGTERM) == 0, third.messages
        assert reader.latest(60_000) is None
        assert sink_of(report_of(third.folder / "report.json"), "shm")["written"] > 0
        third.leaves_nothing()
    assert list(FOLDER.glob(f"*{shm}*")) == []


@needs_shm
@pytest.mark.skipif(not can_mount(), reason="mounting a small tmpfs is not permitted here")
def test_shared_memory_that_is_full_is_told_before_anything_starts(
    start: Callable[..., RunningCommand], bundle: Bundle, shm: str
) -> None:
    script = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && "$@"; code=$?; ls -A /dev/shm; exit $code'
    command = start(
        *(bundle.path, "synthetic:?size=480x640", "--sink", f"shm:{shm}", "-o", "out.mp4"),
        wrapper=(*NAMESPACES, "sh", "-c", script, "sh"),
    )
    assert command.wait() == 1
    assert f"{segment_path(shm)} cannot be made: No space left on device" in command.messages
    assert shm not in command.printed  # what is left in it
    assert list(command.folder.iterdir()) == []
    command.leaves_nothing()


@needs_encoder
@pytest.mark.parametrize(
    "scheme",
    [
        pytest.param("udp", marks=pytest.mark.slow),
        pytest.param(
            "rtsp",
            marks=pytest.mark.skipif(not has_element("rtspclientsink"), reason="rtspclientsink is missing"),
        ),
    ],
)
def test_a_push_that_nobody_receives_costs_the_stream_no_frame_and_is_counted(
    start: Callable[..., RunningCommand], bundle: Bundle, scheme: str
) -> None:
    udp = scheme == "udp"
    address = f"{scheme}://127.0.0.1:{free_port(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)}"
    frames = 150
    outputs = ("-o", "out.mp4", "--sink", address if udp else f"{address}/street", "--report", "report.json")
    command = start(bundle.path, f"{PATTERN}&frames={frames}", *outputs)
    assert command.wait() == (0 if udp else 1), command.messages
    assert udp or "push: nothing got through" in command.messages
    report = report_of(command.folder / "report.json")
    push, video = sink_of(report, "push"), sink_of(report, "video")
    assert report["frames"]["in"] == frames
    assert report["frames"]["out"] + report["frames"]["dropped"] == frames
    # A loaded machine drops some by itself; waiting for the receiver would leave a handful.
    assert video["written"] > frames / 2
    assert frames_of(command.folder / "out.mp4") == video["written"]
    if not udp:
        assert push["failed"] > 0
        assert "push fails" in str(report["health"]["events"])
    assert not push["given_up"]
    command.leaves_nothing()


@needs_encoder
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_encoder_that_dies_or_hangs_on_the_way_is_started_again_and_delays_nobody(
    start: Callable[..., RunningCommand], bundle: Bundle, number: int
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    command = start(
        *(bundle.path, "synthetic:?size=480x640&fps=25", "--sink", f"udp://127.0.0.1:{port}"),
        *("-o", "out.mp4", "--report", "report.json"),
    ).ready()

    def encoder() -> list[int]:
        return [
            pid
            for pid in command.processes()
            if Path(f"/proc/{pid}/comm").read_text().startswith("danet-gst")
        ]

    command.until(encoder)
    (first,) = encoder()
    time.sleep(0.5)
    os.kill(first, number)
    command.until(lambda: [pid for pid in encoder() if pid != first])
    time.sleep(0.5)
    assert command.end(signal.SIGTERM) == 0, command.messages
    report = report_of(command.folder / "report.json")
    push, video = sink_of(report, "push"), sink_of(report, "video")
    assert (push["restarts"], push["given_up"]) == (1, False)
    assert push["failed"] > 0
    assert video["written"] > push["written"]
    assert frames_of(command.folder / "out.mp4") == video["written"]
    command.leaves_nothing()


@needs_encoder
@pytest.mark.skipif(
    not has_element("rtspclientsink")
    or subprocess.run(
        [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"], check=False
    ).returncode
    != 0,
    reason="an RTSP server or rtspclientsink is not installed",
)
def test_a_receiver_that_is_killed_and_comes_back_is_sent_to_again(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    port = free_port(socket.SOCK_STREAM)

    def record() -> subprocess.Popen[bytes]:
        server = subprocess.Popen([SYSTEM_PYTHON, str(RECORDER), str(port)], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        return server

    server = record()
    try:
        command = start(
            *(bundle.path, "synthetic:?size=96x128&fps=25", "--sink", f"rtsp://127.0.0.1:{port}/street"),
            *("--report", "report.json"),
        ).ready()
        assert server.stdout is not None
        assert server.stdout.readline().startswith(b"picture")
        server.kill()
        server.wait()
        server.stdout.close()
        command.until(lambda: "push fails" in command.messages)
        server = record()
        assert server.stdout is not None
        assert server.stdout.readline().startswith(b"picture")
        assert command.end(signal.SIGTERM) == 0, command.messages
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
    push = sink_of(report_of(command.folder / "report.json"), "push")
    assert push["restarts"] >= 1
    assert push["failed"] > 0
    command.leaves_nothing()
