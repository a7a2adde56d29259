"""The flight recorder: bounded, never in the way, written whole at a fault or on request, and read again."""

from __future__ import annotations

import json
import resource
import signal
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_box import fill, handled
from sink_parts import result, run_and_kill
from stream_parts import Camera, Echo, Frames, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import FaultError, SinkError, SourceError, UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.recorder.format import MANIFEST_NAME
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.results.health import HealthEvent
from danet_runtime.results.result import Labelling
from danet_runtime.sinks import Sink, StreamFormat

SECOND = 10**9


@pytest.fixture
def segmenter_with(bundle: Bundle) -> Callable[[Any], Segmenter]:
    return lambda backend: Segmenter(bundle, backend=backend)


@pytest.fixture
def stream_format(bundle: Bundle) -> StreamFormat:
    segmenter = Segmenter(bundle)
    return StreamFormat((48, 64), 25.0, segmenter.classes, segmenter.palette)


def test_what_was_kept_is_read_again_with_exact_labels(tmp_path: Path, stream_format: StreamFormat) -> None:
    box = FlightRecorder(context=lambda: {"bundle": "tiny"})
    assert isinstance(box, Sink)
    box.open(stream_format)
    box.note(HealthEvent(1, 2, "ready", "starting", ()))
    labelling = Labelling(stream_format.classes, "tensorrt:int8", (24, 32))
    fill(box, 4, source="front", late=False, health="ready", labelling=labelling)
    fill(box, 3, hw=(20, 30), source="rear", late=True, health="degraded")
    folder = box.save(tmp_path / "a" / "box", "a test")
    box.close()
    box.close()
    recording = FlightRecording(folder)
    assert (len(recording), recording.cameras) == (7, ("front", "rear"))
    front = list(recording.results("front"))
    assert [(entry.frame_id, entry.late, entry.health) for entry in front] == [
        (number, False, "ready") for number in range(4)
    ]
    for number, entry in enumerate(front):
        assert (entry.labels == number).all()
        assert np.abs(entry.frame.astype(int) - number).max() <= 2
        assert entry.labelling == labelling
    assert [entry.labels.shape for entry in recording.results("rear")] == [(20, 30)] * 3
    with pytest.raises(UsageError, match="no camera 'left', only front, rear"):
        next(recording.results("left"))
    manifest = recording.manifest
    assert (manifest.reason, manifest.context) == ("a test", {"bundle": "tiny"})
    assert manifest.figures.kept == manifest.figures.seen == 7
    assert [event.state for event in recording.events] == ["ready"]
    assert [entry.name for entry in manifest.classes] == ["road", "tree", "sky", "car"]
    assert manifest.machine["versions"]["numpy"] == np.__version__


def test_memory_stays_bounded_whatever_comes(stream_format: StreamFormat) -> None:
    megabytes, hw = 1, (96, 128)
    box = FlightRecorder(seconds=1e6, megabytes=megabytes)
    box.open(stream_format)
    noise = np.random.default_rng(0)
    most = 0
    fill(box, 2, hw)  # the buffers
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(300):
        frame = noise.integers(0, 255, (*hw, 3), np.uint8)
        given = result(frame, number, capture_time_ns=number)
        given.labels[:] = frame[..., 0]
        box.write(given)
        handled(box)
        most = max(most, box.figures()["kept_bytes"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    box.close()
    assert most <= megabytes * 2**20
    assert most > 0.9 * megabytes * 2**20  # it was full
    assert box.figures()["kept"] < 100
    assert peak - before < megabytes * 2**20 + 6 * frame.nbytes


def test_frames_older_than_asked_are_let_go(stream_format: StreamFormat) -> None:
    box = FlightRecorder(seconds=2.0)
    box.open(stream_format)
    fill(box, 50, step_ns=SECOND // 10)
    assert box.figures()["kept"] == 21
    box.close()


def test_a_frame_larger_than_the_box_is_counted_and_not_kept(stream_format: StreamFormat) -> None:
    box = FlightRecorder(megabytes=0.001)
    box.open(stream_format)
    fill(box, 3)
    box.close()
    figures = box.describe()
    assert (figures["kept"], figures["not_encoded"], figures["seen"]) == (0, 3, 3)


def test_a_box_whose_encoder_is_slow_skips_and_never_waits(
    stream_format: StreamFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = FlightRecorder()
    release = threading.Event()
    encode = box._encode

    def slow(given: Any) -> Any:
        release.wait(20)
        return encode(given)

    monkeypatch.setattr(box, "_encode", slow)
    box.open(stream_format)
    frame = np.zeros((48, 64, 3), np.uint8)
    for number in range(100):
        box.write(result(frame, number, capture_time_ns=number))
    release.set()
    handled(box)
    box.close()
    figures = box.figures()
    assert figures["kept"] + figures["skipped"] == figures["seen"] == 100
    assert figures["kept"] in (1, 2)
    assert len(box._spare) <= 3


class Flaky(Echo):
    def __init__(self) -> None:
        super().__init__()
        self.hang = threading.Event()
        self.hang.set()

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.hang.wait(20)
        super().infer(frame, labels)


def test_an_inference_that_hangs_leaves_a_flight_recorder_with_the_frames_before(
    tmp_path: Path, segmenter_with: Callable, video_reader: Callable
) -> None:
    backend, seen = Flaky(), []
    box = FlightRecorder(tmp_path / "faults")
    stream = stream_of(
        segmenter_with(backend),
        Frames(10**6, live=True, pause_s=0.02),
        [box],
        inference_timeout_s=0.2,
        grace_s=0.5,
        watch_every_s=0.01,
    )
    box.context = lambda: stream.report().to_dict()
    stream.health.listen(box.note)
    with pytest.raises(FaultError, match="not returned"), stream:  # noqa: PT012
        for given in stream:
            seen.append(given.frame_id)
            if len(seen) == 20:
                backend.hang.clear()
    until(lambda: box.written)
    backend.hang.set()
    recording = FlightRecording(box.written[0])
    assert recording.path.name.endswith("-fault")
    assert [path.name for path in (tmp_path / "faults").iterdir()] == [recording.path.name]
    assert recording.manifest.reason.startswith("fault: inference has not returned for 0.2 s")
    assert recording.events[-1].state == "fault"
    ids = [entry.frame_id for entry in recording]
    assert ids == sorted(set(ids))
    assert len(ids) + recording.manifest.figures.skipped == recording.manifest.figures.seen
    assert set(seen[:20]) & set(ids)
    assert max(ids) >= seen[-1]
    for entry in recording:
        assert (entry.labels == entry.frame_id % 251).all()
        assert np.abs(entry.frame.astype(int) - entry.frame_id % 251).max() <= 2
    assert recording.manifest.context["kind"] == "danet-stream-report"

    from danet_runtime.recorder.replay import replay

    output = tmp_path / "replay.mp4"
    assert replay(recording, output, fps=25.0) == len(ids)
    frames, rate = video_reader(output)
    assert (len(frames), rate) == (len(ids) + 50, 25.0)  # and two seconds of the fault
    for frame, number in zip(frames, ids, strict=False):
        assert np.abs(frame[4:40, 4:60].astype(int) - number % 251).mean() < 30 or number % 251 < 4
    strip = frames[-1][49:51, :400].reshape(-1, 3).mean(0)
    assert np.abs(strip - (54, 54, 220)).max() < 30  # red


def test_a_signal_writes_the_box_while_the_stream_goes_on(tmp_path: Path, segmenter_with: Callable) -> None:
    box = FlightRecorder(tmp_path)
    previous = signal.signal(signal.SIGUSR1, lambda *_: box.request("signal"))
    try:
        with stream_of(segmenter_with(Echo()), Camera(), [box], policy="latest") as stream:
            until(lambda: box.figures()["kept"] > 5)
            signal.raise_signal(signal.SIGUSR1)
            until(lambda: len(box.written) == 1)
            before = stream.frames_out
            until(lambda: stream.frames_out > before + 5)
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert [len(FlightRecording(path)) > 5 for path in box.written] == [True, True]
    row = stream.report().cameras[0]["sinks"][0]
    assert len(row["written_to"]) == 2


def test_only_the_first_fault_is_written_and_without_a_folder_none(
    tmp_path: Path, stream_format: StreamFormat
) -> None:
    for folder, expected in ((tmp_path / "in", 1), (None, 0)):
        box = FlightRecorder(folder)
        box.open(stream_format)
        fill(box, 2)
        for number in range(3):
            box.note(HealthEvent(number, number, "fault", "ready", (f"reason {number}",)))
        box.close()
        assert len(box.written) == expected


def test_a_box_that_does_not_fit_on_the_disk_leaves_nothing(
    tmp_path: Path, stream_format: StreamFormat
) -> None:
    box = FlightRecorder()
    box.open(stream_format)
    fill(box, 3)
    box.close()
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        with pytest.raises(SinkError, match=r"cannot be written to .*too large"):
            box.save(tmp_path / "box")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []
    box.save(tmp_path / "box")  # the memory is still there
    with pytest.raises(UsageError, match="exists already"):
        box.save(tmp_path / "box")
    assert len(FlightRecording(tmp_path / "box")) == 3


def test_a_process_that_is_killed_while_it_writes_leaves_no_half_box(tmp_path: Path) -> None:
    run_and_kill(
        """
        import numpy as np, sys, threading, time
        from danet_runtime.recorder.recorder import FlightRecorder
        from danet_runtime.results.result import Result
        from danet_runtime.sinks.protocol.sink import StreamFormat
        box = FlightRecorder()
        box.open(StreamFormat((48, 64), None, [], np.zeros((256, 3), np.uint8)))
        for number in range(300):
            frame = np.full((48, 64, 3), number % 251, np.uint8)
            box.write(Result(frame, frame[..., 0].copy(), number, number, 0.0, {}))
            time.sleep(0.001)
        box._manifest = lambda *_: (print("ready", flush=True), time.sleep(20))
        box.save(sys.argv[1])
        """,
        tmp_path / "box",
    )
    assert not (tmp_path / "box").exists()
    with pytest.raises(SourceError, match="is no flight recording"):
        FlightRecording(tmp_path / "box")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content.update(schema_version=4), "schema_version"),
        (lambda content: content.update(more=1), "more"),
        (lambda content: content["frames"][0].update(frame="../../etc/passwd"), "frames.0.frame"),
    ],
)
def test_a_manifest_that_is_not_of_this_version_is_refused_by_its_place(
    tmp_path: Path, stream_format: StreamFormat, damage: Callable[[dict[str, Any]], None], words: str
) -> None:
    box = FlightRecorder()
    box.open(stream_format)
    fill(box, 1)
    file = box.save(tmp_path / "box") / MANIFEST_NAME
    box.close()
    content = json.loads(file.read_text())
    damage(content)
    file.write_text(json.dumps(content))
    with pytest.raises(SourceError, match=f"does not follow versions 1 to 3 of a flight recording: {words}"):
        FlightRecording(tmp_path / "box")


def test_a_picture_that_is_missing_or_damaged_is_named(tmp_path: Path, stream_format: StreamFormat) -> None:
    box = FlightRecorder()
    box.open(stream_format)
    fill(box, 2)
    folder = box.save(tmp_path / "box")
    box.close()
    (folder / "camera-0" / "000001.png").write_bytes(b"")
    recording = iter(FlightRecording(folder))
    next(recording)
    with pytest.raises(SourceError, match=r"000001\.png is no picture"):
        next(recording)
    (folder / "camera-0" / "000000.jpg").unlink()
    with pytest.raises(SourceError, match=r"000000\.jpg cannot be read"):
        next(iter(FlightRecording(folder)))


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"megabytes": -1}, {"quality": 101}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="keeps more than 0"):
        FlightRecorder(**wrong)
    box = FlightRecorder()
    with pytest.raises(SinkError, match="not open"):
        box.write(result(np.zeros((4, 4, 3), np.uint8)))
