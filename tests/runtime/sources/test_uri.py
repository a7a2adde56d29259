"""The test pattern moves, and files keep their pace."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from danet_runtime.errors import UsageError
from danet_runtime.sources import open_source
from danet_runtime.sources.synthetic import SyntheticSource


def test_the_pattern_moves_without_end_and_has_the_size_that_was_asked_for() -> None:
    source = SyntheticSource("synthetic:?size=36x50&fps=0")
    assert (source.live, source.size_hw, source.count, source.fps) == (False, (36, 50), None, None)
    buffer = np.empty((36, 50, 3), np.uint8)
    seen = []
    for number in range(40):
        info = source.read_into(buffer)
        assert info is not None
        assert info.id == number
        seen.append(buffer.copy())
    assert all((one != other).any() for one, other in itertools.pairwise(seen))
    assert buffer.std() > 20


def test_the_pattern_ends_where_that_is_asked_and_keeps_its_rate() -> None:
    source = SyntheticSource("synthetic:?size=8x8&fps=100&frames=20")
    buffer = np.empty((8, 8, 3), np.uint8)
    started = time.monotonic()
    frames = 0
    while source.read_into(buffer) is not None:
        frames += 1
    assert frames == 20
    assert time.monotonic() - started == pytest.approx(0.2, abs=0.1)


def test_a_played_file_is_live_and_pictures_cannot_be_played(
    tmp_path: Path, video_maker: Callable[..., Path], picture_maker: Callable
) -> None:
    source = open_source(video_maker(tmp_path / "in.mp4", 10, (48, 64)), realtime=True)
    assert source.live
    buffer = np.empty((*source.size_hw, 3), np.uint8)
    moments = []
    while (info := source.read_into(buffer)) is not None:
        moments.append(info.capture_time_ns)
    assert np.diff(moments).mean() / 1e6 == pytest.approx(40, abs=4)
    source.close()
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), picture_maker(8, 8))
    with pytest.raises(UsageError, match="pictures have no rate"):
        open_source(tmp_path / "a.png", realtime=True)


def test_a_live_pattern_is_left_as_it_is_by_realtime_and_one_without_a_rate_is_refused() -> None:
    assert isinstance(open_source("synthetic:?size=8x8&fps=50", realtime=True), SyntheticSource)
    with pytest.raises(UsageError, match="nor has a test pattern with fps=0"):
        open_source("synthetic:?size=8x8&fps=0", realtime=True)
