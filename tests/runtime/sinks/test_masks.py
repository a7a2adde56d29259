"""Masks as PNG files: exact, under the pictures' names, each whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mask_files import labels_in
from sink_parts import result

from danet_runtime.errors import SinkError, UsageError
from danet_runtime.sinks import Sink, StreamFormat
from danet_runtime.sinks.masks import MasksSink


def test_masks_are_the_labels_under_the_pictures_names(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    folder = tmp_path / "a" / "masks"
    sink = MasksSink(folder)
    assert isinstance(sink, Sink)
    sink.open(stream_format())
    frame = np.zeros((48, 64, 3), np.uint8)
    for number, name in enumerate((None, "street.jpg", "street.png")):
        sink.write(result(frame, number, label=number or 255, name=name))
    sink.close()
    found = {file.name: labels_in(file) for file in folder.iterdir()}
    assert set(found) == {"frame_000000.png", "street.png", "street_000002.png"}
    for name, label in (("frame_000000.png", 255), ("street.png", 1), ("street_000002.png", 2)):
        np.testing.assert_array_equal(found[name], np.full((48, 64), label, np.uint8))
    assert sink.describe()["frames"] == 3


def test_grey_masks_are_what_any_reader_takes_for_labels(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    for grey in (False, True):
        sink = MasksSink(tmp_path / str(grey), grey=grey)
        sink.open(stream_format())
        sink.write(result(np.zeros((48, 64, 3), np.uint8), 0, label=1))
        sink.close()
    of_palette = cv2.imread(str(tmp_path / "False" / "frame_000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(of_palette, np.broadcast_to(stream_format().palette[1], (48, 64, 3)))
    grey_one = cv2.imread(str(tmp_path / "True" / "frame_000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(grey_one, np.full((48, 64), 1, np.uint8))


def test_a_folder_with_files_is_written_to_only_on_request_and_nothing_is_removed(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="holds files already"):
        MasksSink(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        MasksSink(tmp_path / "mine.txt", overwrite=True)
    sink = MasksSink(tmp_path, overwrite=True)
    sink.open(stream_format())
    sink.write(result(np.zeros((4, 4, 3), np.uint8)))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["frame_000000.png", "mine.txt"]


def test_masks_that_cannot_be_written_are_a_sink_error(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    (tmp_path / "file").write_text("x")
    sink = MasksSink(tmp_path / "file" / "masks")
    sink.open(stream_format())
    with pytest.raises(SinkError, match="cannot be written"):
        sink.write(result(np.zeros((4, 4, 3), np.uint8)))
