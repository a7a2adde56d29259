"""What hangs: it is noticed wherever it is, and the end that was asked for comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from stream_parts import Camera, Echo, Frames, Record, stream_of, until

from danet_runtime import Stream, StreamOptions
from danet_runtime.errors import FaultError, SinkError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.result import Result
from danet_runtime.stream.state.watch import Worker

QUICK = {"grace_s": 0.2, "watch_every_s": 0.01}


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets go of what hangs when the test is over."""
    event = threading.Event()
    yield event
    event.set()


class Stuck(Echo):
    """A model whose very first inference hangs, as one that waits for a GPU does."""

    def __init__(self, release: threading.Event) -> None:
        super().__init__()
        self.release = release
        self.begun = threading.Event()

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.begun.set()
        self.release.wait(20)
        super().infer(frame, labels)


class StuckSink(Record):
    """A sink that hangs from some result on, as a pipe that nobody reads does."""

    def __init__(self, release: threading.Event, begin: int = 5) -> None:
        super().__init__()
        self.release = release
        self.begin = begin
        self.hangs = False

    def write(self, result: Result) -> None:
        if len(self.ids) >= self.begin:
            self.hangs = True
            self.release.wait(20)
        super().write(result)


def test_a_golden_frame_that_never_comes_back_is_a_fault(
    segmenter_with: Callable, release: threading.Event
) -> None:
    options = StreamOptions(start_timeout_s=0.3, **QUICK)
    stream = Stream(segmenter_with(Stuck(release)), Camera(), [sink := Record()], options=options)
    started = time.monotonic()
    with pytest.raises(FaultError, match=r"not returned for 0\.3 s"):
        stream.run()
    assert time.monotonic() - started < 5
    assert (stream.health.state, sink.ids, sink.closed) == ("fault", [], 1)


def test_stopping_during_the_first_inference_ends_soon_and_is_no_failure(
    segmenter_with: Callable, release: threading.Event
) -> None:
    backend = Stuck(release)
    stream = Stream(segmenter_with(backend), Camera(), [sink := Record()], options=StreamOptions(**QUICK))
    started = time.monotonic()
    with stream:
        assert backend.begun.wait(10)
    assert time.monotonic() - started < 5
    assert stream.report().ending == "stopped"
    assert sink.closed == 1


def test_the_first_inference_may_take_longer_than_the_later_ones(segmenter_with: Callable) -> None:
    class Loading(Echo):
        def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
            time.sleep(0.0 if self.calls else 0.4)
            super().infer(frame, labels)
            labels[:] = golden

    segmenter = segmenter_with(Loading())
    from danet_runtime.bundle.golden import golden_frame

    golden = golden_frame(segmenter.bundle)[1]
    options = StreamOptions(inference_timeout_s=0.2, watch_every_s=0.01)
    assert Stream(segmenter, Frames(5), options=options).run().frames_out == 5


def test_a_file_goes_on_without_a_sink_that_hangs_and_the_other_output_is_whole(
    segmenter_with: Callable, release: threading.Event
) -> None:
    bad, good = StuckSink(release), Record()
    stream = stream_of(segmenter_with(Echo()), Frames(60), [bad, good], sink_give_up_s=0.2, **QUICK)
    with pytest.raises(SinkError, match=r"record-0 was given up: it did not finish one frame within 0\.2 s"):
        stream.run()
    assert good.ids == list(range(60))
    rows = stream.report().cameras[0]["sinks"]
    assert [sink["given_up"] for sink in rows] == [True, False]


def test_a_file_whose_only_sink_hangs_is_read_no_further(
    segmenter_with: Callable, release: threading.Event
) -> None:
    source = Frames(10**6)
    stream = stream_of(segmenter_with(Echo()), source, [StuckSink(release)], sink_give_up_s=0.2, **QUICK)
    with pytest.raises(SinkError, match="was given up"):
        stream.run()
    assert source.read < 50


def test_a_stream_that_waits_for_a_hanging_sink_can_be_stopped(
    segmenter_with: Callable, release: threading.Event
) -> None:
    bad, good = StuckSink(release, begin=0), Record()
    stream = stream_of(segmenter_with(Echo()), Frames(10**6), [bad, good], **QUICK)
    started = time.monotonic()
    with pytest.raises(SinkError, match="did not finish one frame"), stream:  # noqa: PT012
        until(lambda: bad.hangs)
        time.sleep(0.1)
    assert time.monotonic() - started < 5
    assert good.closed == 1


def test_a_fault_is_what_is_raised_also_where_a_sink_was_lost_before(
    segmenter_with: Callable, release: threading.Event
) -> None:
    class Late(Echo):
        def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
            if self.calls > 30:
                release.wait(20)
            super().infer(frame, labels)

    sink = Record(fail_at=0)
    stream = stream_of(
        segmenter_with(Late()), Camera(), [sink], sink_failures=2, inference_timeout_s=0.2, **QUICK
    )
    with pytest.raises(FaultError, match="has not returned") as raised:
        stream.run()
    assert raised.value.exit_code == 3
    assert stream.report().cameras[0]["sinks"][0]["given_up"]


def test_a_thread_that_is_just_being_started_is_not_taken_for_dead() -> None:
    worker = Worker("one", lambda: None)
    worker.thread._ident = 1  # type: ignore[attr-defined]  # it has one a moment before it counts as alive
    assert not worker.thread.is_alive()
    assert not worker.died
