"""A function and a window as sinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from sink_parts import Screen, result
from stream_parts import Camera, Echo, stream_of, until

from danet_runtime.errors import SinkError
from danet_runtime.sinks import CallbackSink, Sink, StreamFormat
from danet_runtime.sinks.window import WindowSink

FRAME = np.zeros((48, 64, 3), np.uint8)


def test_a_function_gets_every_result_and_what_it_raises_is_a_failed_write(
    segmenter_with: Callable,
) -> None:
    seen: list[int] = []

    def take(result: Any) -> None:
        if result.frame_id == 3:
            raise ValueError("not three")
        seen.append(result.frame_id)

    sink = CallbackSink(take)
    assert isinstance(sink, Sink)
    with stream_of(segmenter_with(Echo()), Camera(), [sink], policy="latest") as stream:
        until(lambda: len(seen) > 5)
    row = stream.report().cameras[0]["sinks"][0]
    assert row["frames"] == len(seen) == row["written"]
    assert row["function"].endswith("take")
    assert row["failed"] <= 1


def test_opencv_without_windows_says_what_to_install(stream_format: Callable[..., StreamFormat]) -> None:
    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has windows")
    with pytest.raises(SinkError, match=r"headless.*install opencv-python"):
        WindowSink().open(stream_format())


@pytest.mark.parametrize(("keys", "visible"), [([-1, ord("q")], 1.0), ([-1, 27], 1.0), ([], 0.0)])
def test_q_escape_or_closing_the_window_stops_once(
    stream_format: Callable[..., StreamFormat],
    monkeypatch: pytest.MonkeyPatch,
    keys: list[int],
    visible: float,
) -> None:
    screen = Screen(monkeypatch, keys, visible)
    quits: list[None] = []
    sink = WindowSink("street")
    sink.on_quit = lambda: quits.append(None)
    assert isinstance(sink, Sink)
    sink.open(stream_format())
    for number in range(5):
        sink.write(result(FRAME, number))
    assert len(quits) == 1
    assert len(screen.shown) == (2 if visible else 1)
    assert (screen.shown[0] == (10, 100, 10)).all()  # half of the tree's green
    assert screen.opened == ["street"]
    sink.close()
    sink.close()
    assert screen.opened == []


def test_without_a_screen_that_is_said(
    stream_format: Callable[..., StreamFormat], monkeypatch: pytest.MonkeyPatch
) -> None:
    Screen(monkeypatch, [])
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SinkError, match="no screen"):
        WindowSink().open(stream_format())
