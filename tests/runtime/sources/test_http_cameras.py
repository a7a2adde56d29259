"""Cameras over HTTP, with real servers and the real child: true pictures, true ages, damage that is seen."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import truth
from http_camera import Asked, answer, opened, pictures, played, read, serving, true_jpeg, true_video
from process_parts import children_of
from stream_parts import Echo, stream_of, until

from danet_runtime.clock import now_ns
from danet_runtime.errors import SourceError
from danet_runtime.sources import open_source
from danet_runtime.sources.http import HttpSource
from danet_runtime.sources.network.http_address import HttpAddress
from danet_runtime.sources.network.http_client import HttpClient

HLS = "application/vnd.apple.mpegurl"


def read_to_the_end(source: HttpSource) -> list[truth.Truth | None]:
    found = []
    with suppress(SourceError):
        while True:
            found.append(read(source)[1])
    return found


def child_of_this() -> int:
    (child,) = children_of(os.getpid())
    return child


def stopped(child: int) -> None:
    os.kill(child, signal.SIGSTOP)
    while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.005)


def test_the_pictures_of_a_camera_are_true_and_as_old_as_their_arrival() -> None:
    with serving(video=pictures(true_jpeg)) as base, opened(f"{base}video") as source:
        for _ in range(20):
            info, found = read(source)
            assert found is not None
            assert info.clock == "arrival"
            assert info.capture_time_ns <= now_ns()
            # 1 to 14 ms; less than none where the child was not scheduled, and cannot know when they came.
            assert info.capture_time_ns - found.time_ns < 500e6
        assert source.damage.total == 0


@pytest.mark.slow
def test_pictures_that_nobody_read_in_time_do_not_seem_younger_and_the_newest_comes_soon() -> None:
    with serving(video=pictures(true_jpeg)) as base, opened(f"{base}video") as source:
        read(source)
        paused_ns = now_ns()
        time.sleep(1.5)  # as a model does that is busy
        errors_ms, numbers = [], []
        for _ in range(30):
            info, found = read(source)
            assert found is not None
            errors_ms.append((info.capture_time_ns - found.time_ns) / 1e6)
            numbers.append(found.number)
        assert max(errors_ms) < 500, errors_ms  # the pause, where ages count from the reading
        assert found.time_ns > paused_ns + 1.5e9
        assert numbers[-1] - numbers[0] > 60  # the others were left out


@pytest.mark.slow
def test_a_child_that_stood_still_calls_nothing_younger_than_it_can_know() -> None:
    with serving(video=pictures(true_jpeg)) as base, opened(f"{base}video") as source:
        for _ in range(5):
            read(source)
        child = child_of_this()
        stopped(child)
        stopped_ns = now_ns()
        time.sleep(1.5)
        os.kill(child, signal.SIGCONT)
        errors_ms = []
        for _ in range(30):
            info, found = read(source)
            assert found is not None
            errors_ms.append((info.capture_time_ns - found.time_ns) / 1e6)
        assert max(errors_ms) < 500, errors_ms
        assert found.time_ns > stopped_ns + 1.5e9
        assert abs(errors_ms[-1]) < 500  # and nothing is too old for ever


@pytest.mark.slow
def test_a_delay_before_the_camera_sends_is_seen_where_the_camera_says_when_it_drew() -> None:
    delay, drawn = threading.Event(), [0]

    def draw(number: int) -> bytes:
        data = true_jpeg(number)
        found = now_ns()
        if delay.is_set():
            time.sleep(0.6)  # it lies in the camera
        drawn[0] = found
        return data

    def headers() -> dict[str, str]:
        return {"X-Timestamp": f"{drawn[0] / 1e9:.6f}"}

    with serving(video=pictures(draw, headers=headers)) as base, opened(f"{base}video") as source:
        clocks = set()
        for _ in range(90):
            info, found = read(source)
            clocks.add(info.clock)
        assert info.clock == "stream"
        delay.set()
        for _ in range(3):
            info, found = read(source)
        assert found is not None
        assert (info.capture_time_ns - found.time_ns) / 1e6 < 300  # of 600


def test_pictures_that_are_cut_are_left_out_and_counted() -> None:
    def draw(number: int) -> bytes:
        data = true_jpeg(number)
        return data if number % 3 else data[: len(data) // 2]

    with serving(video=pictures(draw)) as base, opened(f"{base}video") as source:
        found = [read(source)[1] for _ in range(20)]
        assert None not in found
        assert source.damage.counts["cut off"] >= 5


@pytest.mark.slow
def test_pictures_that_are_cut_are_marked_where_that_was_asked_for() -> None:
    def draw(number: int) -> bytes:
        data = true_jpeg(number)
        return data[: len(data) // 2] if number > 10 else data

    with serving(video=pictures(draw)) as base, opened(f"{base}video", damaged="mark") as source:
        seen = [read(source) for _ in range(30)]
    assert {info.damage for info, _ in seen} == {None, "cut off"}
    for info, found in seen:
        assert (found is None) == (info.damage is not None)


@pytest.mark.slow
def test_while_every_picture_is_cut_nothing_is_ready_and_the_health_says_why(
    segmenter_with: Callable,
) -> None:
    cut = threading.Event()

    def draw(number: int) -> bytes:
        data = true_jpeg(number)
        return data[: len(data) // 2] if cut.is_set() else data

    with serving(video=pictures(draw)) as base:
        source = open_source(f"{base}video")
        with stream_of(segmenter_with(Echo()), source) as stream:
            until(lambda: stream.health.state == "ready" and stream.frames_out > 5)
            cut.set()
            until(lambda: any("cut off" in reason for reason in stream.health.reasons))
            before = stream.frames_out
            assert stream.health.state != "ready"
            until(lambda: source.damage.counts["cut off"] > 50)  # type: ignore[union-attr]
            assert stream.frames_out <= before + 3  # those that were on their way
            cut.clear()
            until(lambda: stream.frames_out > before + 10 and stream.health.state == "ready", 15)


def message_at_the_end_of(uri: str) -> str:
    """It may be opened, and then broken, or not at all."""
    try:
        with opened(uri) as source:
            threading.Timer(5.0, source.interrupt).start()
            while True:
                read(source)
    except SourceError as error:
        return str(error)


def bomb(announced: int) -> Callable[[Asked], None]:
    """A picture, then one that is announced, of which 600 MiB come."""

    def write(asked: Asked) -> None:
        asked.begin("multipart/x-mixed-replace; boundary=frame")
        data = true_jpeg(0)
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        asked.wfile.write(head % len(data) + data + b"\r\n" + head % announced)
        for _ in range(600):
            asked.wfile.write(bytes(1 << 20))
        while asked.until_over(0.02):
            pass

    return write


def test_a_picture_that_is_announced_with_two_gigabytes_takes_none() -> None:
    peaks: dict[int, int] = {}  # the last look at each: before its exec a child's peak is the tests' own
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            for child in children_of(os.getpid()):
                with suppress(OSError, IndexError):
                    status = Path(f"/proc/{child}/status").read_text()
                    peaks[child] = int(status.partition("VmHWM:")[2].split()[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with serving(video=bomb(2_000_000_000)) as base:
            message = message_at_the_end_of(f"{base}video")
    finally:
        over.set()
        watcher.join()
    assert 0 < max(peaks.values()) < 400 << 10  # KiB; PyAV and its libraries take 100 MiB
    assert "announces 2000000000 bytes; at most 33554432 are read" in message


def test_a_stream_that_is_joined_between_key_frames_gives_true_pictures_alone() -> None:
    video = true_video(100, 50)
    joined = video[len(video) // 4 // 188 * 188 :]
    with serving(ts=played(joined, 2.0)) as base, opened(f"{base}ts") as source:
        threading.Timer(4.0, source.interrupt).start()
        found = read_to_the_end(source)
    numbers = [None if one is None else one.number for one in found]
    assert None not in numbers
    assert numbers[0] == 50
    assert numbers == sorted(numbers)  # type: ignore[type-var]
    assert source.damage.counts["no key frame yet"] > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "text/plain"),
        (b"<html>log in</html>", "text/html"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 26\n", "application/sdp"),
    ],
)
def test_what_is_no_video_is_refused_with_what_came(body: bytes, content_type: str) -> None:
    words = f"expected motion JPEG .* the camera sends {content_type}"
    with serving(video=answer(body, content_type)) as base, pytest.raises(SourceError, match=words):
        open_source(f"{base}video")


@pytest.mark.slow
def test_a_playlist_without_an_end_is_not_kept() -> None:
    def write(asked: Asked) -> None:
        asked.begin(HLS)
        asked.wfile.write(b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n")
        while asked.until_over(0):
            asked.wfile.write(b"#EXTINF:4.0,\na.ts\n" * 1000)

    with (
        serving(list=write) as base,
        pytest.raises(SourceError, match="a playlist of more than 4194304 bytes"),
    ):
        open_source(f"{base}list")


@pytest.mark.slow
def test_motion_jpeg_that_is_called_something_else_is_known_by_its_beginning() -> None:
    def write(asked: Asked) -> None:
        asked.begin("application/octet-stream")
        number = 0
        while asked.until_over(0.02):
            asked.wfile.write(b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n" + true_jpeg(number))
            number += 1

    with serving(video=write) as base, opened(f"{base}video") as source:
        assert None not in [read(source)[1] for _ in range(10)]


@pytest.mark.slow
def test_a_camera_that_sends_its_pictures_in_chunks_is_read() -> None:
    def write(asked: Asked) -> None:
        asked.begin("multipart/x-mixed-replace;boundary=frame", Transfer_Encoding="chunked")
        number = 0
        while asked.until_over(0.02):
            data = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + true_jpeg(number) + b"\r\n"
            for piece in (data[:100], data[100:]):
                asked.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            number += 1

    with serving(video=write) as base, opened(f"{base}video") as source:
        assert None not in [read(source)[1] for _ in range(10)]


def test_a_camera_that_is_not_there_is_told_in_the_system_s_own_words() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = HttpClient(HttpAddress.of(f"http://127.0.0.1:{bound.getsockname()[1]}/"))
        with pytest.raises(ConnectionRefusedError, match=r"^\[Errno \d+\] Connection refused$"):
            client.open()
