"""RTSP where GStreamer is absent: true pictures from the first key frame on, and true ages."""

from __future__ import annotations

import numpy as np
import pytest
import truth
from rtsp_camera import CameraRules, RtspCamera

from danet_runtime.sources import gstreamer, open_source

pytestmark = pytest.mark.slow  # FFmpeg looks at a stream for seconds before it begins


@pytest.mark.parametrize(("codec", "reports"), [("h264", True), ("h264", False), ("h265", False)])
def test_a_camera_that_is_joined_between_key_frames_gives_true_pictures_and_ages(
    monkeypatch: pytest.MonkeyPatch, codec: str, reports: bool
) -> None:
    monkeypatch.setattr(gstreamer.shutil, "which", lambda _: None)
    with RtspCamera(CameraRules(codec=codec, key_every=50, reports=reports)) as camera:
        source = open_source(camera.uri)
        assert source.describe()["decoder"] == "ffmpeg"
        buffer = np.empty((*source.size_hw, 3), np.uint8)
        errors_ms, numbers, clocks = [], [], set()
        for _ in range(60):
            info = source.read_into(buffer)
            found = truth.read(buffer)
            assert info is not None
            assert found is not None
            numbers.append(found.number)
            clocks.add(info.clock)
            errors_ms.append((info.capture_time_ns - found.time_ns) / 1e6)
        source.close()
    assert numbers[0] % 50 == 0
    assert numbers == sorted(set(numbers))
    assert clocks == ({"sensor"} if reports else {"stream"})
    # They are 0 and 2 to 7 ms, and were 44 ms where the wait of FFmpeg's parser for the next picture counted.
    assert np.median(errors_ms) < (20 if reports else 35)
