"""A moment without file descriptors, threads or memory costs a try, not the camera, and leaks nothing."""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from mjpeg_camera import free_port, uri_of
from process_parts import children_of
from stream_parts import Camera, Echo, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import (
    DanetError,
    MissingDependencyError,
    SinkError,
    SourceError,
    UsageError,
)
from danet_runtime.sinks.writing.push_child import PushChild
from danet_runtime.sources.http import HttpSource
from danet_runtime.stream.systemd import SystemdNotifier

SENDER = """
import sys, time
from danet_runtime.sources.protocol import gdp
fd = int(sys.argv[1])
caps = gdp.write_caps((48, 64), 50)
gdp.write(fd, gdp.write_header(gdp.CAPS, len(caps)) + caps)
for number in range(10**6):
    head = gdp.write_header(gdp.BUFFER, 48 * 64 * 3, number * 10**7)
    gdp.write(fd, head + bytes([number % 251]) * (48 * 64 * 3))
    time.sleep(0.01)
"""


class Sender(HttpSource):
    """A camera in a child process that needs no network."""

    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        return (sys.executable, "-c", SENDER, "{fd}"), ()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Nothing can be opened beyond so many more; what is open stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        while len(taken) <= spare or taken[-1] <= highest:  # a limit leaves holes below it free
            taken.append(os.open("/dev/null", os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1, hard))
        for _ in range(spare):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)


@contextmanager
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As ``RLIMIT_NPROC``, which does not bind root, makes it where threads are begun."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield


@pytest.mark.parametrize("spare", range(8))
def test_an_opening_with_too_few_descriptors_fails_as_one_that_can_be_tried_again_and_leaves_none_open(
    spare: int,
) -> None:
    source = Sender(uri_of(free_port()), is_open=False)
    before = open_descriptors()
    with few_descriptors(spare):
        for _ in range(10):
            with pytest.raises(SourceError, match=r"cannot be started|no pipe"):
                source.reopen()
    assert open_descriptors() == before
    assert children_of(os.getpid()) == []
    source.reopen()
    assert source.read_into(np.empty((48, 64, 3), np.uint8)) is not None
    source.close()
    assert open_descriptors() == before


def test_fifty_openings_that_find_no_thread_leave_neither_descriptor_nor_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Sender(uri_of(free_port()), is_open=False)
    before = open_descriptors()
    with no_threads(monkeypatch):
        for _ in range(50):
            with pytest.raises(SourceError, match="can't start new thread"):
                source.reopen()
        for _ in range(5):
            with pytest.raises(SinkError, match="can't start new thread"):
                PushChild((sys.executable, "-c", "pass"), "nowhere", str)
    assert open_descriptors() == before
    assert children_of(os.getpid()) == []


def test_a_camera_that_is_lost_while_no_descriptor_is_left_comes_back_when_there_are_some(
    bundle: Bundle,
) -> None:
    source = Sender(uri_of(free_port()), is_open=False)
    source.reopen()
    with stream_of(
        Segmenter(bundle, backend=Echo()), source, reconnect_first_s=0.01, reconnect_most_s=0.05
    ) as stream:
        until(lambda: stream.frames_out > 3)
        with few_descriptors(1):
            source.interrupt()
            reasons = set()

            def tried() -> bool:
                reasons.update(stream.health.reasons)
                return any("no pipe" in reason or "Too many open" in reason for reason in reasons)

            until(tried)
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 3)
        until(lambda: stream.health.state == "ready")
    assert stream.report().error is None


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        MemoryError(),
        ValueError("what a driver says"),
        EOFError(),
    ],
    ids=lambda error: f"{type(error).__name__}-{error}",
)
def test_whatever_an_opening_or_a_read_raises_the_camera_is_tried_again(
    segmenter_with: Callable, error: Exception
) -> None:
    camera = Camera()
    refused = []

    def refuse() -> None:
        if len(refused) < 3:
            refused.append(1)
            raise error
        Camera.reopen(camera)

    camera.reopen = refuse  # type: ignore[method-assign]
    with stream_of(segmenter_with(Echo()), camera, reconnect_first_s=0.01, watch_every_s=0.01) as stream:
        until(lambda: stream.frames_out > 3)
        camera.error, camera.count = error, camera.read + 1  # a read raises it
        until(lambda: len(refused) == 3)
        camera.count = 10**9
        before = stream.frames_out
        until(lambda: stream.frames_out > before + 5)
        until(lambda: stream.health.state == "ready")
    reasons = [reason for event in stream.health.events for reason in event.reasons]
    assert any(type(error).__name__ in reason or str(error) in reason for reason in reasons)
    assert stream.report().error is None


@pytest.mark.parametrize("error", [UsageError("no such format"), MissingDependencyError("cv2", "it", "pip")])
def test_what_no_other_try_can_mend_ends_it(segmenter_with: Callable, error: DanetError) -> None:
    camera = Camera()

    def refuse() -> None:
        raise error

    camera.reopen = refuse  # type: ignore[method-assign]
    stream = stream_of(segmenter_with(Echo()), camera, reconnect_first_s=0.01)
    camera.trouble = "die"
    with pytest.raises(type(error)):
        stream.run()


def test_systemd_hears_of_a_stream_that_has_no_descriptor_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "notify"))
        service.settimeout(5)
        notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "40"})
        notifier.send("READY=1")
        assert service.recv(100) == b"READY=1"
        with few_descriptors(0):
            notifier.ping()
        assert service.recv(100) == b"WATCHDOG=1"
        notifier.close()


def test_a_change_of_health_that_finds_no_thread_for_its_listeners_is_told_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from danet_runtime.results.health import Health, HealthEvent

    heard: list[HealthEvent] = []
    health = Health([heard.append])
    with no_threads(monkeypatch):
        health.started()
        health.close()
    health.set("camera", "stale", "it is lost")
    health.close()
    assert [event.state for event in heard] == ["ready", "stale"]
