"""Overlays as pictures: one, or one of each result in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from sink_parts import result

from danet_runtime import OverlayStyle
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.results.overlay import Overlay
from danet_runtime.sinks import Sink, StreamFormat, open_sink

STYLE = OverlayStyle(alpha=0.3)


def drawn(frame: np.ndarray, label: int, stream_format: StreamFormat) -> np.ndarray:
    out = np.empty_like(frame)
    labels = np.full(frame.shape[:2], label, np.uint8)
    Overlay((frame.shape[0], frame.shape[1]), stream_format.classes, STYLE).blend_into(frame, labels, out)
    return out


def test_a_folder_gets_the_overlay_of_each_result_under_its_pictures_name(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], picture_maker: Callable[..., np.ndarray]
) -> None:
    frame, small = picture_maker(48, 64), picture_maker(20, 30)
    sink = open_sink(f"overlays:{tmp_path / 'out'}", style=STYLE)
    assert isinstance(sink, Sink)
    sink.open(stream_format())
    sink.write(result(frame, 0, label=1, name="street.jpg"))
    sink.adopt(stream_format(size_hw=(20, 30)))  # type: ignore[attr-defined]
    sink.write(result(small, 1, label=2))
    sink.close()
    found = {file.name: cv2.imread(str(file)) for file in (tmp_path / "out").iterdir()}
    assert set(found) == {"street.png", "frame_000001.png"}
    np.testing.assert_array_equal(found["street.png"], drawn(frame, 1, stream_format()))
    np.testing.assert_array_equal(found["frame_000001.png"], drawn(small, 2, stream_format()))


def test_a_single_picture_holds_one_result_and_says_so_of_a_second(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], picture_maker: Callable[..., np.ndarray]
) -> None:
    frame, file = picture_maker(48, 64), tmp_path / "new" / "out.png"
    sink = open_sink(file, style=STYLE)
    sink.open(stream_format())
    assert not file.exists()
    sink.write(result(frame, 0, label=3))
    np.testing.assert_array_equal(cv2.imread(str(file)), drawn(frame, 3, stream_format()))
    with pytest.raises(SinkError, match=r"holds the first frame already.*overlays:FOLDER"):
        sink.write(result(frame, 1, label=0))
    sink.close()
    np.testing.assert_array_equal(cv2.imread(str(file)), drawn(frame, 3, stream_format()))
    with pytest.raises(UsageError, match="exists already"):
        open_sink(file)
    assert open_sink(file, overwrite=True).describe()["frames"] == 0
