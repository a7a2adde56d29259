"""`danet run` with cameras that are not there at the start: the others run, and they join them later."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from command_parts import RunningCommand, frames_of, report_of
from mjpeg_camera import MjpegCamera, free_port, uri_of

from danet_runtime.bundle import Bundle
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.sources.http import HttpSource
from danet_runtime.sources.opening import open_sources

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

PATTERN = "synthetic:?size=48x64&fps=50"
REPORT = ("--report", "report.json")
PATIENT = ("--source-timeout-s", 20)  # an opening beside other work may take longer than two seconds


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningCommand]]:
    started: list[RunningCommand] = []

    def run(*arguments: object) -> RunningCommand:
        started.append(RunningCommand(tmp_path / "out", *arguments))
        return started[-1]

    yield run
    for command in started:
        command.kill()


def test_a_missing_camera_is_lost_while_the_others_run_and_joins_them_when_it_comes(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    port = free_port()
    lines = ("--sink", "jsonl:{camera}.jsonl")
    command = start(
        bundle.path, f"front={uri_of(port)}", f"rear={PATTERN}", *lines, *REPORT, *PATIENT
    ).ready()
    assert "danet: front is missing: " in command.messages
    assert "it is awaited" in command.messages
    command.until(lambda: (command.folder / "rear.jsonl").read_text().count("\n") > 10)
    command.until(lambda: "danet: stale: front is lost: " in command.messages)
    assert (command.folder / "front.jsonl").read_text() == ""
    with MjpegCamera(port):
        command.until(lambda: (command.folder / "front.jsonl").read_text().count("\n") > 10)
        command.until(lambda: "danet: ready" in command.messages)
        assert command.end(signal.SIGTERM) == 0, command.messages
    report = report_of(command.folder / "report.json")
    front, rear = report["cameras"]
    assert front["reconnects"] == 1
    assert front["frames"]["out"] > 10
    assert rear["reconnects"] == 0
    command.leaves_nothing()


def test_a_missing_camera_that_comes_with_another_size_than_was_assumed_is_adopted(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    port = free_port()
    outputs = ("-o", "{camera}.mp4", "--sink", "masks:{camera}")
    command = start(
        bundle.path, f"front={uri_of(port)}", f"rear={PATTERN}", *outputs, *REPORT, *PATIENT
    ).ready()
    with MjpegCamera(port, (32, 80)):  # the bundle's is 48x64
        command.until(lambda: len(list((command.folder / "front").glob("*.png"))) > 10)
        assert command.end(signal.SIGTERM) == 0, command.messages
    front = report_of(command.folder / "report.json")["cameras"][0]
    assert front["source"]["size_hw"] == [32, 80]
    assert [sink["skipped"] for sink in front["sinks"]] == [0, 0]
    assert frames_of(command.folder / "front.mp4") == front["sinks"][0]["written"]
    command.leaves_nothing()


def test_a_mute_camera_delays_nobody(start: Callable[..., RunningCommand], bundle: Bundle) -> None:
    with MjpegCamera() as mute:
        mute.silent.set()
        command = start(
            bundle.path, f"front={mute.uri}", f"rear={PATTERN}", "--max-frames", 20, *REPORT, *PATIENT
        )
        command.until(lambda: "danet: front is missing: " in command.messages)
        command.until(lambda: "danet: stale: front is lost: " in command.messages)
        assert "is still being opened; it is awaited" in command.messages
        assert command.ready().end(signal.SIGTERM) == 0, command.messages
    rear = report_of(command.folder / "report.json")["cameras"][1]
    assert rear["frames"]["out"] > 0


def test_where_every_camera_is_missing_it_ends_at_once_with_all_reasons(
    danet: Callable, bundle: Bundle
) -> None:
    one, other = uri_of(free_port()), uri_of(free_port())
    done = danet("run", bundle.path, f"front={one}", f"rear={other}")
    assert done.returncode == 1
    assert "danet: error: none of the sources can be opened: front: " in done.stderr
    assert one in done.stderr
    assert other in done.stderr
    done = danet("run", bundle.path, one)
    assert done.returncode == 1
    assert "none of" not in done.stderr


def test_it_waits_for_a_camera_that_comes_up_after_it_where_that_is_asked(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    port = free_port()
    command = start(bundle.path, uri_of(port), "--wait-for-sources", 100, "--max-frames", 5, *REPORT)
    command.until(lambda: len(command.processes()) > 1)  # it has tried
    command.until(lambda: len(command.processes()) == 1)  # and failed
    with MjpegCamera(port):
        assert command.wait() == 0, command.messages
    assert report_of(command.folder / "report.json")["frames"]["in"] == 5
    assert "is missing" not in command.messages


def test_it_ends_as_asked_while_it_waits_for_a_camera(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    command = start(bundle.path, uri_of(free_port()), "--wait-for-sources", 1000, *REPORT)
    command.until(lambda: len(command.processes()) > 1)
    assert command.end(signal.SIGTERM) == 1
    assert "danet: interrupted" in command.messages
    command.leaves_nothing()


def test_cameras_are_opened_side_by_side(start: Callable[..., RunningCommand], bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        uris = [uri_of(server.getsockname()[1]) for server in (one, other)]
        command = start(bundle.path, *uris, *REPORT)
        with ExitStack() as connections:
            waiting = []
            for server in (one, other):
                server.settimeout(60)
                waiting.append(connections.enter_context(server.accept()[0]))
            # The first is still waited for: it has asked, and was neither answered nor left.
            waiting[0].settimeout(60)
            assert waiting[0].recv(4096).startswith(b"GET")
            waiting[0].setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting[0].recv(4096)
            asked = time.monotonic()
            assert command.end(signal.SIGTERM) == 1
            assert time.monotonic() - asked < 9  # before the openings would have been given up
    command.leaves_nothing()


def test_a_size_for_a_camera_that_is_not_named_is_wrong_usage(danet: Callable, bundle: Bundle) -> None:
    done = danet("run", bundle.path, f"rear={PATTERN}", "--camera-size", "front=48x64")
    assert done.returncode == 2
    assert "--camera-size names 'front'; the sources are rear" in done.stderr


def test_where_one_source_makes_no_sense_none_is_left_open() -> None:
    before = set(threading.enumerate())
    with MjpegCamera() as camera, pytest.raises(UsageError, match="there is no file"):
        open_sources({"front": camera.uri, "rear": "nosuch.mp4"}, {})
    begun = set(threading.enumerate()) - before
    assert [thread.name for thread in begun if thread.name.startswith("danet-")] == []


def test_a_source_that_is_awaited_says_why_until_it_is_opened() -> None:
    with MjpegCamera() as camera:
        source = HttpSource(camera.uri, is_open=False)
        source.await_opening((48, 64), "it is not there yet")
        buffer = np.empty((48, 64, 3), np.uint8)
        with pytest.raises(SourceError, match="it is not there yet"):
            source.read_into(buffer)
        source.reopen()
        info = source.read_into(buffer)
        assert info is not None
        assert info.id == 0
        source.close()


# Ten frames at once, and then none for a long time.
PILED_UP = """
import sys, time
from danet_runtime.sources.protocol import gdp
caps = gdp.write_caps((48, 64), 50)
head = gdp.write_header(gdp.BUFFER, 48 * 64 * 3)
frames = b"".join(head + bytes([number]) * (48 * 64 * 3) for number in range(10))
gdp.write(int(sys.argv[1]), gdp.write_header(gdp.CAPS, len(caps)) + caps + frames)
time.sleep(1000)
"""


class PilingUp(HttpSource):
    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        return (sys.executable, "-c", PILED_UP, "{fd}"), ()


@pytest.mark.parametrize(("backlog_s", "first"), [(0.1, 9), (1000.0, 0)])
def test_frames_that_piled_up_before_the_first_was_read_are_left_out(
    monkeypatch: pytest.MonkeyPatch, backlog_s: float, first: int
) -> None:
    monkeypatch.setattr("danet_runtime.sources.live.source._BACKLOG_S", backlog_s)
    source = PilingUp(uri_of(free_port()))
    time.sleep(0.2)
    buffer = np.empty((48, 64, 3), np.uint8)
    info = source.read_into(buffer)
    source.close()
    assert info is not None
    assert (info.id, int(buffer[0, 0, 0])) == (0, first)


def test_a_camera_that_changes_its_size_is_adopted_and_a_single_video_keeps_its_own(
    start: Callable[..., RunningCommand], bundle: Bundle
) -> None:
    outputs = ("-o", "drive.mp4", "--sink", "masks:masks")
    with MjpegCamera() as camera:
        command = start(bundle.path, f"front={camera.uri}", *outputs, *REPORT, *PATIENT).ready()
        command.until(lambda: any(command.folder.glob("masks/*.png")))
        camera.size_hw = (24, 32)
        command.until(lambda: "gets nothing: drive.mp4 was begun with another size" in command.messages)
        camera.size_hw = (48, 64)
        command.until(lambda: command.messages.rstrip().endswith("danet: ready"))
        assert command.end(signal.SIGTERM) == 0, command.messages
    video, masks = report_of(command.folder / "report.json")["cameras"][0]["sinks"]
    assert video["skipped"] > 0
    assert masks["skipped"] == 0
    assert frames_of(command.folder / "drive.mp4") == video["written"]
    assert "front.video: " in command.messages
    assert "had another size than it takes, and are not in it" in command.messages
    command.leaves_nothing()
