"""A source writes to no buffer that may only be read, whatever decodes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from danet_runtime.sources import open_source
from danet_runtime.sources.live.child import FrameChild
from danet_runtime.sources.protocol import gdp


def untouched(read: Callable[[np.ndarray], object], size_hw: tuple[int, int], times: int) -> bool:
    """Whether every read into read-only memory raises and writes nothing."""
    buffer = np.full((*size_hw, 3), 77, np.uint8)
    buffer.flags.writeable = False
    for _ in range(times):
        with pytest.raises((ValueError, TypeError, BufferError, cv2.error)):
            read(buffer)
    return bool((buffer == 77).all())


def test_neither_a_video_nor_pictures_nor_the_pattern_are_written_through(
    tmp_path: Path, video_maker: Callable[..., Path], picture_maker: Callable[..., np.ndarray]
) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), picture_maker(48, 64))
    video = video_maker(tmp_path / "in.mp4", 5, (96, 128))
    for text in (video, tmp_path / "pictures", "synthetic:?size=48x64&fps=0"):
        source = open_source(text)
        assert untouched(source.read_into, source.size_hw, 2)  # the first is decoded at the opening
        source.close()


def test_neither_is_what_a_child_process_sends() -> None:
    child = FrameChild(["sh", "-c", "exec sleep 20 {fd}"], "a child", str)
    reading, writing = os.pipe()
    child._fd, own = reading, child._fd
    child.format = gdp.read_caps(gdp.write_caps((4, 4), 25.0))
    gdp.write(writing, gdp.write_header(gdp.BUFFER, 48) + bytes(48))
    assert untouched(child.read_into, (4, 4), 1)
    child.kill()
    child.close()
    os.close(own)
    os.close(writing)
