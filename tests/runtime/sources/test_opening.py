"""Opening several cameras: those that are there begin, and one that says nothing joins when it comes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from mjpeg_camera import free_port, uri_of
from process_parts import children_of
from stream_parts import Echo, Record, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import MissingDependencyError, SourceError, UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.results.result import Result
from danet_runtime.sinks import StreamFormat
from danet_runtime.sources import opening
from danet_runtime.sources.http import HttpSource
from danet_runtime.sources.live.source import LiveSource

SIZES = dict.fromkeys(("front", "rear"), (48, 64))

# A camera that is connected to and says nothing until a file is there.
MUTE = """
import os, sys, time
from danet_runtime.sources.protocol import gdp
fd, wanted, height, width = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
while not os.path.exists(wanted):
    time.sleep(0.01)
caps = gdp.write_caps((height, width), 50)
gdp.write(fd, gdp.write_header(gdp.CAPS, len(caps)) + caps)
for number in range(10**6):
    head = gdp.write_header(gdp.BUFFER, height * width * 3, number * 10**7)
    gdp.write(fd, head + bytes([number % 251]) * (height * width * 3))
    time.sleep(0.01)
"""


class Mute(HttpSource):
    """Sends once its file is there."""

    def __init__(self, wanted: Path, size_hw: tuple[int, int]) -> None:
        self._arguments = (str(wanted), *map(str, size_hw))
        super().__init__(uri_of(free_port()), is_open=False)

    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        return (sys.executable, "-c", MUTE, "{fd}", *self._arguments), ()


@pytest.fixture
def cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, LiveSource]]:
    """What the opening gets for the names of cameras; one speaks at once, the other with its file."""
    (tmp_path / "front").touch()
    made: dict[str, LiveSource] = {
        "front": Mute(tmp_path / "front", (48, 64)),
        "rear": Mute(tmp_path / "rear", (24, 32)),
    }
    known = opening.live_source

    def live_source(text: str, pixels: Pixels = BGR, *more: object, **options: object) -> LiveSource | None:
        return made.get(text) or known(text, pixels, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "live_source", live_source)
    yield made
    for camera in made.values():
        camera.close()


class Opened(Record):
    """What was opened, and for which size."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def open(self, stream_format: StreamFormat) -> None:
        super().open(stream_format)
        self.sizes.append(stream_format.size_hw)

    def write(self, result: Result) -> None:
        self.ids.append(result.frame_id)


def test_cameras_that_are_there_begin_at_once_and_a_mute_one_joins_with_its_own_size_when_it_comes(
    cameras: dict[str, LiveSource], bundle: Bundle, tmp_path: Path
) -> None:
    messages: list[str] = []
    sources = opening.open_sources({"front": "front", "rear": "rear"}, SIZES, tell=messages.append)
    assert messages == [f"rear is missing: {cameras['rear'].name} is still being opened; it is awaited"]
    sinks = {"front": [Opened()], "rear": [Opened()]}
    with stream_of(
        Segmenter(bundle, backend=Echo()), sources, sinks, source_timeout_s=20.0, reconnect_first_s=0.01
    ) as stream:
        until(lambda: len(sinks["front"][0].ids) > 10)
        assert sinks["rear"][0].sizes == []  # nobody knows its size yet
        assert "rear is lost: " in "".join(stream.health.reasons)
        (tmp_path / "rear").touch()
        until(lambda: len(sinks["rear"][0].ids) > 10)
        until(lambda: stream.health.state == "ready")
        mask = stream.latest(max_age_ms=10_000, camera="rear")
        assert mask is not None
        assert mask.labels.shape == (24, 32)
    assert sinks["rear"][0].sizes == [(24, 32)]
    assert sinks["rear"][0].closed == 1
    assert stream.report().error is None


def test_a_sink_of_a_camera_that_never_comes_is_neither_opened_nor_closed(
    cameras: dict[str, LiveSource], bundle: Bundle
) -> None:
    sources = opening.open_sources({"front": "front", "rear": "rear"}, SIZES)
    sink = Opened()
    with stream_of(Segmenter(bundle, backend=Echo()), sources, {"rear": [sink]}) as stream:
        until(lambda: stream.frames_out > 5)
    assert (sink.opened, sink.closed) == (0, 0)
    assert stream.report().error is None
    assert children_of(os.getpid()) == []


def test_a_mute_camera_is_waited_for_where_that_is_asked(
    cameras: dict[str, LiveSource], tmp_path: Path
) -> None:
    timer = threading.Timer(1.5, (tmp_path / "rear").touch)
    timer.start()
    messages: list[str] = []
    sources = opening.open_sources({"front": "front", "rear": "rear"}, SIZES, wait_s=60, tell=messages.append)
    timer.join()
    assert messages == []
    assert [source.size_hw for source in sources.values()] == [(48, 64), (24, 32)]


def test_a_wait_is_no_longer_than_was_asked_where_another_is_there(
    cameras: dict[str, LiveSource],
) -> None:
    started = time.monotonic()
    opening.open_sources({"front": "front", "rear": "rear"}, SIZES, wait_s=1.5)
    assert 1.5 <= time.monotonic() - started < 9  # a try alone would take ten seconds


@pytest.mark.parametrize(
    "error", [OSError(24, "Too many open files"), RuntimeError("can't start new thread"), MemoryError()]
)
def test_whatever_keeps_one_from_being_opened_the_others_begin_and_it_is_awaited(
    cameras: dict[str, LiveSource], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(cameras["rear"], "reopen", refuse)
    sources = opening.open_sources({"front": "front", "rear": "rear"}, SIZES)
    assert sources["rear"].awaited == str(error)  # type: ignore[attr-defined]


def test_an_opening_that_finds_no_thread_leaves_the_camera_to_the_stream(
    cameras: dict[str, LiveSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "danet-open-rear":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sources = opening.open_sources({"front": "front", "rear": "rear"}, SIZES)
    assert "can't start new thread" in sources["rear"].awaited  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [UsageError("no such format"), MissingDependencyError("cv2", "it", "pip")])
def test_what_can_never_be_opened_ends_the_opening_of_all_at_once(
    cameras: dict[str, LiveSource], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(cameras["front"], "reopen", refuse)
    with pytest.raises(type(error)):
        opening.open_sources({"front": "front", "rear": "rear"}, SIZES)
    assert children_of(os.getpid()) == []


def test_where_none_can_be_opened_it_says_why_for_each(
    cameras: dict[str, LiveSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_with(error: Exception) -> Callable[[], None]:
        def refuse() -> None:
            raise error

        return refuse

    monkeypatch.setattr(cameras["front"], "reopen", refuse_with(SourceError("no route")))
    monkeypatch.setattr(cameras["rear"], "reopen", refuse_with(OSError(24, "Too many open files")))
    with pytest.raises(SourceError, match=r"front: no route; rear: .*Too many open files"):
        opening.open_sources({"front": "front", "rear": "rear"}, SIZES)
