"""A stream in the wrong order, twice, from several threads, or dropped: it ends, or raises at once."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from stream_parts import Camera, Echo, Frames, Record, check, stream_of, until

from danet_runtime import Stream
from danet_runtime.errors import BackendError, FaultError, SinkError, SourceError, UsageError
from danet_runtime.sinks.callback import CallbackSink

LIMIT_S = 20.0
"""What does not come back by then never does."""


def in_time(call: Callable[[], Any]) -> Any:
    """What the call gives or raises, in a thread that may hang; a failure where it does."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised again below
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert outcome, "it did not come back"
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def stream_threads() -> set[threading.Thread]:
    names = ("danet-capture", "danet-inference", "danet-watchdog", "danet-source", "danet-close")
    return {thread for thread in threading.enumerate() if thread.name.startswith(names)}


@pytest.fixture
def others() -> set[threading.Thread]:
    """The threads of streams that other tests have left."""
    gc.collect()
    return stream_threads()


# The wrong order.


def test_iterating_a_stream_that_was_closed_before_its_start_raises_at_once(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), Frames(3))
    stream.close()
    for use in (lambda: list(stream), lambda: next(stream), stream.start, stream.run):
        with pytest.raises(UsageError, match="has ended, and its sources are closed"):
            in_time(use)


def test_iterating_a_stream_that_has_ended_ends_at_once(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), source := Frames(3))
    assert len(in_time(lambda: list(stream))) == 3
    assert source.closed == 1
    assert in_time(lambda: list(stream)) == []
    stream.close()
    assert in_time(lambda: list(stream)) == []
    with pytest.raises(UsageError, match="has ended"):
        stream.run()
    with pytest.raises(UsageError, match="has ended"), stream:
        pass


def test_a_stream_that_was_left_early_gives_nothing_more(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), Frames(10**6))
    with stream:
        results = iter(stream)
        next(results)
    with pytest.raises(StopIteration):
        in_time(lambda: next(results))
    assert in_time(lambda: list(stream)) == []


def test_iterating_a_stream_whose_start_failed_raises_at_once_and_names_why(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), source := Frames(3), [Record(fails_in="open")])
    with pytest.raises(SinkError, match="no place"):
        stream.start()
    for use in (lambda: list(stream), stream.start, stream.run):
        with pytest.raises(UsageError, match=r"could not be started \(no place\)"):
            in_time(use)
    in_time(stream.close)
    assert source.closed == 1
    assert stream.report().frames_in == 0


def test_a_stop_before_the_start_opens_nothing_and_ends(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), source := Frames(3), [sink := Record()])
    stream.stop()
    report = in_time(stream.run)
    assert (report.ending, report.frames_in, source.read, source.closed) == ("stopped", 0, 0, 1)
    assert (sink.opened, sink.closed) == (0, 0)


def test_a_stop_while_sinks_are_opened_ends_with_the_sinks_finished(segmenter_with: Callable) -> None:
    class Stopping(Record):
        def open(self, stream_format: Any) -> None:
            super().open(stream_format)
            stream.stop()

    stream = stream_of(segmenter_with(Echo()), Frames(10**9), [sink := Stopping()])
    report = in_time(stream.run)
    assert (report.ending, sink.closed) == ("stopped", 1)


def test_starting_twice_or_in_two_threads_starts_once(segmenter_with: Callable) -> None:
    opening, go = threading.Event(), threading.Event()

    class Slow(Record):
        def open(self, stream_format: Any) -> None:
            super().open(stream_format)
            opening.set()
            go.wait(LIMIT_S)

    sink = Slow()
    stream = stream_of(segmenter_with(Echo()), Frames(50), [sink])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(stream.start)
        assert opening.wait(LIMIT_S)
        second = pool.submit(stream.start)
        assert not second.done()
        go.set()
        first.result(LIMIT_S)
        second.result(LIMIT_S)
    stream.start()
    assert [result.frame_id for result in stream] == list(range(50))
    assert (sink.opened, sink.closed) == (1, 1)


def test_figures_and_masks_can_be_asked_for_at_any_time(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), Frames(5), policy="latest")
    assert stream.report().frames_in == 0
    assert stream.latest(1e9) is None
    stream.run()
    mask = stream.latest(1e9)
    assert mask is not None
    check(mask)
    assert stream.latest(0) is None
    stream.close()
    again = stream.latest(1e9)
    assert again is not None
    assert again.frame_id == mask.frame_id
    assert again.age_ms > mask.age_ms
    assert stream.report().frames_in == 5


def test_a_source_that_was_closed_is_an_error_of_the_next_stream(
    segmenter_with: Callable, tmp_path: Any, video_maker: Callable
) -> None:
    from danet_runtime.sources import open_source

    source = open_source(video_maker(tmp_path / "in.mp4", 5, (96, 128)))
    stream_of(segmenter_with(Echo()), source, max_frames=1).close()
    with pytest.raises(SourceError, match="closed"):
        in_time(stream_of(segmenter_with(Echo()), source).run)


@pytest.mark.parametrize("policy", ["every", "latest"])
def test_a_segmenter_that_is_closed_under_a_stream_is_its_failure(
    segmenter_with: Callable, policy: str
) -> None:
    segmenter = segmenter_with(Echo())
    stream = stream_of(segmenter, Frames(10**9, pause_s=0.001), [sink := Record()], policy=policy)
    error = BackendError if policy == "every" else FaultError
    with pytest.raises(error, match="the segmenter is closed"), stream:  # noqa: PT012
        for result in stream:
            if result.frame_id > 5:
                segmenter.close()
    assert sink.closed == 1


# Several threads.


def test_closing_from_many_threads_at_once_closes_once_and_all_wait_for_it(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), source := Frames(10**9), [sink := Record(pause_s=0.02)])
    stream.start()
    next(stream)
    together = threading.Barrier(6)

    def close() -> tuple[int, int]:
        together.wait(LIMIT_S)
        stream.close()
        return sink.closed, source.closed

    with ThreadPoolExecutor(6) as pool:
        assert [future.result(LIMIT_S) for future in [pool.submit(close) for _ in range(6)]] == [(1, 1)] * 6


class Place:
    """Somewhere in the stream's own threads from where it is closed, and how long that took."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.done = threading.Event()

    def close(self, *_: object) -> None:
        if self.stream is not None and not self.done.is_set():
            self.stream.close()
            self.done.set()


@pytest.mark.parametrize("where", ["callback", "listener", "source", "model"])
def test_closing_from_a_thread_of_the_stream_returns_and_the_loop_ends(
    segmenter_with: Callable, where: str
) -> None:
    place = Place()

    class Closing(Frames):
        def read_into(self, buffer: Any) -> Any:
            if where == "source" and self.read == 5:
                place.close()
            return super().read_into(buffer)

    class ClosingEcho(Echo):
        def infer(self, frame: Any, labels: Any) -> None:
            if where == "model" and self.calls == 5:
                place.close()
            super().infer(frame, labels)

    sinks = [CallbackSink(place.close)] if where == "callback" else []
    source, record = Closing(10**9), Record()
    stream = stream_of(segmenter_with(ClosingEcho()), source, [record, *sinks])
    if where == "listener":
        stream.health.listen(place.close)
    place.stream = stream
    in_time(lambda: [None for _ in stream])
    assert place.done.wait(LIMIT_S)
    in_time(stream.close)
    assert (source.closed, record.closed, stream.report().ending) == (1, 1, "stopped")
    assert record.ids == list(range(len(record.ids)))


def test_two_loops_in_two_threads_never_see_a_frame_that_is_used_again(segmenter_with: Callable) -> None:
    stream = stream_of(segmenter_with(Echo()), Frames(10**9))
    first_has, second_done = threading.Event(), threading.Event()

    def first() -> None:
        for result in stream:
            first_has.set()
            check(result)
            second_done.wait(LIMIT_S)
            check(result)  # twenty results were taken by the other loop meanwhile

    def second() -> list[int]:
        taken = []
        for result in stream:
            check(result)
            taken.append(result.frame_id)
            if len(taken) == 20:
                return taken
        return taken

    stream.start()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert first_has.wait(LIMIT_S)
        two = pool.submit(second)
        assert len(two.result(LIMIT_S)) == 20
        second_done.set()
        with pytest.raises(UsageError, match="another thread has begun to iterate"):
            one.result(LIMIT_S)
    stream.close()


def test_two_threads_that_wait_for_a_result_at_a_time_are_refused(segmenter_with: Callable) -> None:
    source = Camera()
    source.trouble = "hang"
    stream = stream_of(segmenter_with(Echo()), source, grace_s=0.5)
    stream.start()
    waiting = threading.Thread(target=lambda: list(stream), daemon=True)
    waiting.start()
    until(lambda: stream._turns._asked.locked())
    with pytest.raises(UsageError, match="two threads ask"):
        in_time(lambda: next(stream))
    in_time(stream.close)
    waiting.join(LIMIT_S)
    assert not waiting.is_alive()


def test_one_loop_may_be_carried_on_by_one_thread_after_the_other(segmenter_with: Callable) -> None:
    results = iter(stream_of(segmenter_with(Echo()), Frames(60)))
    ids = []
    for _ in range(60):  # as an event loop does with a pool of threads
        with ThreadPoolExecutor(1) as pool:
            ids.append(pool.submit(lambda: next(results).frame_id).result(LIMIT_S))
    assert ids == list(range(60))


# Signals.


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="needs the main thread")
@pytest.mark.parametrize("method", ["stop", "close"])
def test_a_signals_handler_may_end_the_stream_at_any_moment(segmenter_with: Callable, method: str) -> None:
    before = signal.getsignal(signal.SIGALRM)
    try:
        for number in range(20):
            stream = stream_of(segmenter_with(Echo()), source := Frames(10**9), [sink := Record()])
            end = getattr(stream, method)
            signal.signal(signal.SIGALRM, lambda *_, end=end: end())
            with stream:
                signal.setitimer(signal.ITIMER_REAL, 0.002 + number * 0.0007, 0.0005)
                for _ in stream:
                    stream.latest(1e9)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert (source.closed, sink.closed) == (1, 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Dropped.


def test_a_stream_that_nobody_holds_any_more_reads_no_further(
    segmenter_with: Callable, others: set[threading.Thread]
) -> None:
    source, sink = Camera(every_s=0.001), Record()
    stream = stream_of(segmenter_with(Echo()), source, [sink])
    for result in stream:
        if result.frame_id >= 3:
            break
    dropped = weakref.ref(stream)
    del stream, result
    gc.collect()
    assert dropped() is None
    until(lambda: not stream_threads() - others)
    assert (source.closed, sink.closed) == (1, 1)


def test_a_stream_that_is_dropped_before_its_start_closes_its_source(segmenter_with: Callable) -> None:
    source = Frames(3)
    stream_of(segmenter_with(Echo()), source)
    gc.collect()
    until(lambda: source.closed == 1)


def test_a_loop_holds_the_stream_that_it_takes_from(segmenter_with: Callable) -> None:
    source = Frames(200, pause_s=0.001)
    ids = [result.frame_id for result in stream_of(segmenter_with(Echo()), source)]
    assert ids == list(range(200))
