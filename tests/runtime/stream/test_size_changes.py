"""A camera that comes back with frames of another size or format: it is adopted, and never lost for that."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from stream_parts import HW, Camera, Echo, Overlapping, Record, reported, stream_of, until

from danet_runtime import Segmenter, Stream
from danet_runtime.bundle import Bundle
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.results.result import Result
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sinks import StreamFormat, open_sink

QUICK = {"reconnect_first_s": 0.01, "reconnect_most_s": 0.02, "watch_every_s": 0.01}
OTHER, THIRD = (24, 32), (96, 40)


def come_back(camera: Camera, size_hw: tuple[int, int], stream: Stream, pixels: Pixels = BGR) -> None:
    """The camera is lost and comes back with this size; wait for its results."""
    camera.size_hw, camera.pixels = size_hw, pixels  # type: ignore[attr-defined]
    before, frames = camera.reopened, stream.frames_out
    camera.trouble = "die"
    until(lambda: camera.reopened > before)
    until(lambda: stream.frames_out > frames + 10)


class Sized(Record):
    """Takes results of any size."""

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__(pause_s)
        self.formats: list[StreamFormat] = []
        self.sizes: list[tuple[int, int]] = []

    def open(self, stream_format: StreamFormat) -> None:
        super().open(stream_format)
        self.formats.append(stream_format)

    def adopt(self, stream_format: StreamFormat) -> None:
        self.formats.append(stream_format)

    def write(self, result: Result) -> None:
        assert result.labels.shape == self.formats[-1].size_hw  # told before the first of them
        super().write(result)
        self.sizes.append(result.labels.shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", [Echo, Overlapping])
def test_a_camera_that_comes_back_with_another_size_is_adopted_by_sinks_and_caller(
    segmenter_with: Callable, backend: Callable
) -> None:
    camera, sink = Camera(), Sized()
    seen: list[tuple[int, int]] = []
    with stream_of(segmenter_with(backend()), camera, [sink], **QUICK) as stream:

        def iterate() -> None:
            for result in stream:
                assert (result.labels == result.frame_id % 251).all()
                seen.append(result.labels.shape)  # type: ignore[arg-type]

        caller = threading.Thread(target=iterate, daemon=True)
        caller.start()
        until(lambda: stream.frames_out > 5)
        for size in (OTHER, THIRD, HW):
            come_back(camera, size, stream)
            mask = stream.latest(max_age_ms=10_000)
            assert mask is not None
            assert mask.labels.shape == size
        stream.stop()
        caller.join(10)
    order = [HW, OTHER, THIRD, HW]
    assert [one.size_hw for one in sink.formats] == order
    assert [size for place, size in enumerate(seen) if place == 0 or seen[place - 1] != size] == order
    assert sink.ids == sorted(set(sink.ids))
    report = stream.report()
    assert report.error is None
    assert report.frames_in == report.frames_out + report.frames_dropped + report.frames_unfinished
    assert report.frames_unfinished <= 1  # the one that came while it was stopped


def test_a_sink_that_cannot_change_gets_nothing_until_its_size_returns_and_that_is_said(
    segmenter_with: Callable,
) -> None:
    camera, sink, other = Camera(), Record(), Sized()
    with stream_of(segmenter_with(Echo()), camera, [sink, other], **QUICK) as stream:
        until(lambda: len(sink.ids) > 5)
        come_back(camera, OTHER, stream)
        until(lambda: stream.health.state == "degraded")
        words = (
            "source.record-0 gets nothing: it was opened for 48x64 in bgr, and frames of 24x32 in bgr came"
        )
        assert stream.health.reasons == (words,)
        kept = len(sink.ids)
        come_back(camera, THIRD, stream)
        assert len(sink.ids) == kept
        come_back(camera, HW, stream)
        until(lambda: len(sink.ids) > kept + 5)
        until(lambda: stream.health.state == "ready")
    rows = stream.report().cameras[0]["sinks"]
    assert rows[0]["skipped"] > 5
    assert rows[1]["skipped"] == 0
    assert rows[0]["failed"] == 0
    assert stream.report().error is None


def test_a_video_in_parts_begins_one_with_each_size_and_a_single_one_goes_on_with_its_own(
    segmenter_with: Callable, tmp_path: Path
) -> None:
    camera = Camera()
    sinks = [
        open_sink(str(tmp_path / "single.mp4")),
        open_sink(str(tmp_path / "parts.mp4"), split_minutes=100),
        open_sink(f"jsonl:{tmp_path / 'lines.jsonl'}"),
        open_sink(f"masks:{tmp_path / 'masks'}"),
    ]
    with stream_of(segmenter_with(Echo()), camera, sinks, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        for size in (OTHER, HW):
            come_back(camera, size, stream)
            until(lambda size=size: _newest_size(tmp_path / "masks") == size)  # type: ignore[misc]
    sizes = [_size_of_video(path) for path in sorted(tmp_path.glob("*.mp4"))]
    assert sizes == [HW, OTHER, HW, HW]  # three parts, and the single one
    assert {_size_of(path) for path in (tmp_path / "masks").iterdir()} == {HW, OTHER}
    lines = (tmp_path / "lines.jsonl").read_text().splitlines()
    ids = [json.loads(line)["frame_id"] for line in lines]
    assert ids == sorted(set(ids))
    rows = {Path(sink["path"]).name: sink for sink in stream.report().cameras[0]["sinks"]}
    assert rows["single.mp4"]["skipped"] > 0
    assert reported(stream, "single.mp4 was begun with another size than 24x32 in bgr, and a video has one")


def test_frames_that_no_model_takes_are_refused_until_the_camera_has_its_format_again(
    bundle: Bundle,
) -> None:
    camera = Camera()
    with stream_of(Segmenter(bundle, backend=Echo()), camera, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        camera.pixels = Pixels("nv12")  # type: ignore[attr-defined]
        camera.trouble = "die"
        until(lambda: reported(stream, "source is lost: source gives nv12"))
        assert stream.health.state == "stale"
        come_back(camera, HW, stream)
        until(lambda: stream.health.state == "ready")
    assert stream.report().error is None


def test_slots_of_a_size_before_are_freed_with_their_last_reader_however_often_it_changes(
    segmenter_with: Callable,
) -> None:
    release = threading.Event()

    class Stuck(Sized):
        def write(self, result: Result) -> None:
            if len(self.ids) == 3:
                release.wait(20)
            super().write(result)

    camera, sinks = Camera(0.001), [Stuck(), Sized()]
    alive: weakref.WeakSet[FrameSlot] = weakref.WeakSet()
    with stream_of(segmenter_with(Echo()), camera, sinks, sink_timeout_s=20.0, **QUICK) as stream:
        until(lambda: len(sinks[0].ids) == 3)
        slots = stream._loop._pipelines[0].slots
        for size in (OTHER, THIRD, HW) * 3:
            come_back(camera, size, stream)
            alive.update(slots.slots)
            gc.collect()
            assert len(alive) <= 2 * slots.count
        release.set()
        until(lambda: len(sinks[0].ids) > 10)
        gc.collect()
        until(lambda: not slots.retired)
        held = [slot for slot in slots.slots if slot.size_hw != HW]
        assert len(held) <= 4  # newest results that the caller has not asked for
    assert stream.report().error is None


def test_every_slot_that_was_pinned_is_unpinned_once_whatever_the_sizes(bundle: Bundle) -> None:
    class Pinning(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.pinned: set[int] = set()

        def pin(self, *buffers: UInt8Array) -> None:
            self.pinned |= {buffer.ctypes.data for buffer in buffers}

        def unpin(self, *buffers: UInt8Array) -> None:
            self.pinned -= {buffer.ctypes.data for buffer in buffers}

        def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
            if frame.shape[1:3] == HW:
                assert frame.ctypes.data in self.pinned
            super().infer(frame, labels)

    camera, backend = Camera(), Pinning()
    segmenter = Segmenter(bundle, backend=backend)
    assert segmenter.frame_size_hw == HW
    with stream_of(segmenter, camera, [Sized()], **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        for size in (OTHER, HW, THIRD, HW):
            come_back(camera, size, stream)
    own = {array.ctypes.data for native in segmenter._spare for array in native}
    assert backend.pinned <= own


def test_a_size_for_which_there_is_no_memory_is_a_failed_opening_and_not_the_end(
    segmenter_with: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera()
    with stream_of(segmenter_with(Echo()), camera, **QUICK) as stream:
        until(lambda: stream.frames_out > 5)
        camera.size_hw = (2**22, 2**22)  # 52 TB a frame
        camera.trouble = "die"
        until(lambda: reported(stream, "source is lost: "), 10)
        until(lambda: any("llocat" in reason or "Memory" in reason for reason in stream.health.reasons))
        come_back(camera, HW, stream)
        until(lambda: stream.health.state == "ready")


def _size_of(path: Path) -> tuple[int, int]:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return np.asarray(picture).shape[:2]  # type: ignore[return-value]


def _newest_size(folder: Path) -> tuple[int, int] | None:
    there = sorted(path for path in folder.glob("*.png") if not path.name.startswith("."))
    return _size_of(there[-1]) if there else None


def _size_of_video(path: Path) -> tuple[int, int]:
    capture = cv2.VideoCapture(str(path))
    ok, frame = capture.read()
    capture.release()
    assert ok, path
    return frame.shape[:2]  # type: ignore[no-any-return]
