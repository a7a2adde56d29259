"""Frames of nv12 and uyvy through segmenter, stream and sinks, untouched up to the backend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stream_parts import Echo, stream_of

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import FrameError, SourceError, UsageError
from danet_runtime.frames.color import to_bgr, to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels, pixels_of
from danet_runtime.results.health import Health
from danet_runtime.results.overlay import Overlay
from danet_runtime.results.slot import FrameSlot
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.video import VideoSink
from danet_runtime.sources import open_source
from danet_runtime.sources.synthetic import SyntheticSource
from danet_runtime.stream.pipeline.frame_checks import FrameCheck

YUV = [Pixels("nv12"), Pixels("uyvy"), Pixels("nv12", "bt709", "full")]
HW = (48, 64)


class Seen(Echo):
    """A backend that keeps the frames that it was given, and where they were."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[np.ndarray] = []
        self.at: list[int] = []

    def infer(self, frame: np.ndarray, labels: np.ndarray) -> None:
        self.frames.append(frame[0].copy())
        self.at.append(frame.ctypes.data)
        labels[:] = 1


@pytest.fixture
def segmenter_for(bundle: Bundle) -> Callable[..., Segmenter]:
    def make(pixels: Pixels, backend: Any = None) -> Segmenter:
        spec = bundle.manifest.frame.model_copy(
            update={"pixel_format": pixels.format, "color": pixels.color, "range": pixels.range}
        )
        changed = Bundle(bundle.path, bundle.manifest.model_copy(update={"frame": spec}), bundle.sha256)
        return Segmenter(changed, backend=backend or Seen())

    return make


@pytest.mark.parametrize("pixels", YUV, ids=str)
def test_a_native_frame_goes_to_the_backend_without_a_copy(
    segmenter_for: Callable[..., Segmenter], rng: np.random.Generator, pixels: Pixels
) -> None:
    segmenter = segmenter_for(pixels)
    assert segmenter.frame_shape == pixels.shape(HW)
    frame = rng.integers(0, 256, segmenter.frame_shape, np.uint8)
    labels = np.empty(HW, np.uint8)
    times = segmenter.infer_into(frame, labels)
    assert segmenter.backend.at == [frame.ctypes.data]  # type: ignore[attr-defined]
    assert (times.preprocess_ns, times.postprocess_ns) == (0, 0)
    assert segmenter.labels_of(frame).shape == HW


@pytest.mark.parametrize("pixels", YUV, ids=str)
@pytest.mark.parametrize("size_hw", [HW, (31, 57)])
def test_a_bgr_frame_of_any_size_is_converted_on_the_host_and_that_is_said_once(
    segmenter_for: Callable[..., Segmenter],
    picture_maker: Callable[..., np.ndarray],
    caplog: pytest.LogCaptureFixture,
    pixels: Pixels,
    size_hw: tuple[int, int],
) -> None:
    segmenter = segmenter_for(pixels)
    frame = picture_maker(*size_hw)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert segmenter.labels_of(frame).shape == size_hw
    resized = frame if size_hw == HW else cv2.resize(frame, HW[::-1], interpolation=cv2.INTER_LINEAR)
    expected = to_pixel_format(resized, pixels)
    assert all((seen == expected).all() for seen in segmenter.backend.frames)  # type: ignore[attr-defined]
    assert caplog.text.count(f"converted to {pixels} on the host") == 1


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((70, 64), np.uint8),  # another size
        np.zeros((72, 64), np.float32),
        np.zeros((48, 64, 2), np.uint8),  # uyvy
        np.zeros((1, 72, 64), np.uint8),
        None,
    ],
)
def test_what_is_neither_is_refused_with_both_layouts(
    segmenter_for: Callable[..., Segmenter], frame: np.ndarray
) -> None:
    with pytest.raises(
        FrameError,
        match=r"uint8 \(72, 64\) nv12 of just this size, or uint8 \(H, W, 3\) BGR of any size \(got",
    ):
        segmenter_for(Pixels("nv12"))(frame)


@pytest.mark.parametrize("pixels", YUV, ids=str)
def test_a_stream_hands_the_sources_frames_through_and_the_video_shows_them(
    segmenter_for: Callable[..., Segmenter], video_reader: Callable, tmp_path: Path, pixels: Pixels
) -> None:
    uri = "synthetic:?size=48x64&fps=0&frames=5"
    segmenter = segmenter_for(pixels)
    sink = VideoSink(tmp_path / "o.avi", style=OverlayStyle(alpha=0.0))
    shown = []
    with stream_of(segmenter, open_source(uri, pixels=segmenter.pixels), [sink]) as stream:
        for result in stream:
            assert result.pixels == pixels
            assert result.labels.shape == HW
            shown.append(result.bgr().copy())
    plain, frame = open_source(uri), np.empty((*HW, 3), np.uint8)
    frames, _ = video_reader(tmp_path / "o.avi")
    assert len(frames) == len(shown) == 5
    for number, seen in enumerate(segmenter.backend.frames):  # type: ignore[attr-defined]
        plain.read_into(frame)
        np.testing.assert_array_equal(seen, to_pixel_format(frame, pixels))
        np.testing.assert_array_equal(shown[number], to_bgr(seen, pixels))
        assert np.abs(frames[number].astype(int) - shown[number]).mean() < 12  # MJPEG


def test_a_bgr_source_runs_through_a_nv12_bundle(segmenter_for: Callable[..., Segmenter]) -> None:
    segmenter = segmenter_for(Pixels("nv12"))
    with stream_of(segmenter, open_source("synthetic:?size=30x40&fps=0&frames=3")) as stream:
        assert [result.frame.shape for result in stream] == [(30, 40, 3)] * 3


@pytest.mark.parametrize(
    ("source", "model"),
    [("nv12 48x64", BGR), ("nv12 48x64", Pixels("uyvy")), ("nv12 50x64", Pixels("nv12"))],
)
def test_a_native_source_of_another_format_or_size_is_refused(
    segmenter_for: Callable[..., Segmenter], source: str, model: Pixels
) -> None:
    layout, size = source.split()
    with pytest.raises(UsageError, match=rf"gives nv12 of {size}, .* only BGR frames are resized") as caught:
        stream_of(segmenter_for(model), SyntheticSource(f"synthetic:?size={size}", Pixels(layout)))
    assert f"--frame-size {size} --pixel-format nv12" in str(caught.value)


def test_a_source_of_another_matrix_runs_and_that_is_said(
    segmenter_for: Callable[..., Segmenter], caplog: pytest.LogCaptureFixture
) -> None:
    source = SyntheticSource("synthetic:?size=48x64&fps=0&frames=2", Pixels("nv12", "bt709"))
    with caplog.at_level(logging.WARNING), stream_of(segmenter_for(Pixels("nv12")), source) as stream:
        assert len(list(stream)) == 2
    assert "colors will be off; export it with --color bt709 --range limited" in caplog.text


def test_a_camera_that_comes_back_in_another_format_goes_on_in_that_one(
    segmenter_for: Callable[..., Segmenter],
) -> None:
    text = "synthetic:?size=48x64&fps=100"

    class Fickle(SyntheticSource):
        def read_into(self, buffer: np.ndarray) -> Any:
            if self._read == 3 and self.pixels != BGR:
                raise SourceError("unplugged")
            return super().read_into(buffer)

        def reopen(self) -> None:
            self.__init__(text, BGR)  # type: ignore[misc]

    seen = []
    with stream_of(
        segmenter_for(Pixels("nv12")), Fickle(text, Pixels("nv12")), max_frames=10, reconnect_first_s=0.01
    ) as stream:
        seen += [(str(result.pixels.format), result.frame.shape) for result in stream]
    assert seen[0] == ("nv12", (72, 64))
    assert seen[-1] == ("bgr", (48, 64, 3))


@pytest.mark.parametrize("pixels", [BGR, *YUV], ids=str)
def test_black_is_black_in_every_format_and_grey_is_not(pixels: Pixels) -> None:
    for level, state in ((0, "degraded"), (40, "ready")):
        health = Health(())
        health.started()
        slot = FrameSlot(HW, pixels=pixels)
        check = FrameCheck("camera", health, 1e6, 0.0, pixels.black_level)
        slot.frame[:] = to_pixel_format(np.full((*HW, 3), level, np.uint8), pixels)
        for moment in (1, 2):
            check.look(slot.luma, moment)
        assert health.state == state
        health.close()


def test_the_overlay_draws_over_the_converted_frame(
    segmenter_for: Callable[..., Segmenter], picture_maker: Callable[..., np.ndarray]
) -> None:
    segmenter, pixels = segmenter_for(BGR), Pixels("uyvy")
    frame = to_pixel_format(picture_maker(*HW), pixels)
    labels, out = np.full(HW, 255, np.uint8), np.empty((*HW, 3), np.uint8)
    Overlay(HW, segmenter.classes, pixels=pixels).blend_into(frame, labels, out)
    np.testing.assert_array_equal(out, to_bgr(frame, pixels))


def test_a_source_says_its_format_only_where_it_is_not_bgr() -> None:
    assert pixels_of(object()) == BGR
    assert pixels_of(SyntheticSource()) == BGR
    assert str(replace(BGR, format="nv12")) == "nv12 (bt601, limited range)"
