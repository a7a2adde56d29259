"""Whatever order frames go through the executor and the simulated driver in, labels are their frame's."""

from __future__ import annotations

import ctypes
import queue
import random
import threading
from functools import cache, partial

import numpy as np
import pytest
from executor_parts import (
    COMPUTE,
    DOWNLOAD,
    FRAME,
    HOST,
    LABELS,
    UPLOAD,
    ExecutorBackend,
    Guest,
    empty,
    expected,
    make,
    picture,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_cuda import LEGACY, CUresult, SimulatedCuda
from stream_parts import HW, Frames, Record, stream_of

from danet_runtime import Segmenter
from danet_runtime.errors import FaultError
from danet_runtime.frames.arrays import page_aligned

GUESTS, READERS = 14, 15  # streams of other libraries, made after the executor's


def drive(cuda, schedule, depth, graph):
    """Submit and collect as the schedule says, and check every label; the scheduler is the adversary."""
    executor, _ = make(cuda, depth=depth, graph=graph)
    assert executor.graph == ("captured" if graph else "off")
    guests, readers = cuda.new_stream(), cuda.new_stream()
    flying, kept, reads = {}, [], []
    for number, (kind, how, which) in enumerate(schedule):
        if len(flying) == depth or (kind == "collect" and flying):
            ticket = list(flying)[which % len(flying)]
            truth, labels = flying.pop(ticket)
            times = executor.collect(ticket)
            assert min(times) >= 0
            if isinstance(labels, np.ndarray):
                np.testing.assert_array_equal(labels, truth)
            else:
                # Another library reads them later, on its own stream or on the default one.
                seen = np.zeros(LABELS, np.uint8)
                stream = readers if which % 2 else LEGACY
                cuda.enqueue(stream, partial(ctypes.memmove, seen.ctypes.data, labels.address, seen.nbytes))
                if stream == readers:
                    labels.read_by(readers)
                reads.append((seen, truth))
                del labels  # their memory may be used for the next ones
            continue
        frame, labels = picture(number), np.zeros(LABELS, np.uint8)
        if how == "stays":
            labels = executor.make_labels()
        elif which % 2:
            labels = page_aligned(LABELS)
            executor.pin(labels)
        if how == "guest":
            # Its library is not done with it yet.
            array = cuda.device_array(np.zeros(FRAME, np.uint8))
            kept.append(array)
            cuda.enqueue(guests, partial(ctypes.memmove, array.ctypes.data, frame.ctypes.data, frame.nbytes))
            ticket = executor.submit(Guest(cuda, array, stream=guests), labels)
            kept.append(frame)
        else:
            given = frame.copy()
            if which % 3 == 1:
                given = page_aligned(FRAME)
                given[:] = frame
                executor.pin(given)
                ticket = executor.submit(given, labels)
                kept.append(given)
            else:
                ticket = executor.submit(given, labels)
                given[:] = 0  # it was copied
        flying[ticket] = (expected(frame), labels)
        del labels
    cuda.drain()
    for seen, truth in reads:
        np.testing.assert_array_equal(seen, truth)
    flying.clear()
    executor.close()
    assert not cuda.memory
    assert not cuda.registered
    assert cuda.top == 0


steps = st.tuples(
    st.sampled_from(("submit", "collect")), st.sampled_from(("host", "guest", "stays")), st.integers(0, 3)
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(steps, max_size=30),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 2**31),
    st.sampled_from((0.0, 0.4, 0.8)),
)
def test_whatever_the_schedule_and_the_order_labels_are_those_of_their_frame(
    schedule, depth, graph, seed, eager
):
    drive(SimulatedCuda(seed, eager=eager), schedule, depth, graph)


def schedules(seed, kinds):
    chosen = random.Random(seed)
    return [
        (chosen.choice(("submit", "collect")), chosen.choice(kinds), chosen.randrange(4)) for _ in range(30)
    ]


WAITS = {
    "compute for upload": lambda waiting, recording: (waiting, recording) == (COMPUTE, UPLOAD),
    "download for compute": lambda waiting, recording: (waiting, recording) == (DOWNLOAD, COMPUTE),
    "host for download": lambda waiting, recording: (waiting, recording) == (HOST, DOWNLOAD),
    "upload for the guest's stream": lambda waiting, recording: (waiting, recording) == (UPLOAD, GUESTS),
    "download for the reader's stream": lambda waiting, recording: (
        (waiting, recording) == (DOWNLOAD, READERS)
    ),
    "download for readers on the default stream": lambda waiting, recording: (
        (waiting, recording) == (DOWNLOAD, LEGACY)
    ),
}


@cache
def is_wrong(kinds, ignore=None):
    """Whether some schedule gives the labels of another frame."""
    for seed in range(40):
        cuda = SimulatedCuda(seed, ignore or (lambda *_: False), eager=0.05)
        try:
            drive(cuda, schedules(seed, kinds), 2, bool(seed % 2))
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("wait", WAITS)
def test_each_wait_is_needed_and_the_simulator_shows_it(wait):
    """Without it some schedule gives the labels of another frame; with it none of the same ones does."""
    kinds = ("stays",) if "reader" in wait else ("host", "guest", "stays")
    assert is_wrong(kinds, WAITS[wait])
    assert not is_wrong(kinds)


@pytest.mark.parametrize("graph", [False, True])
def test_one_thread_submits_and_another_collects(graph):
    executor, _ = make(SimulatedCuda(eager=0.3), depth=3, graph=graph)
    flying: queue.Queue = queue.Queue()
    room = threading.Semaphore(3)
    wrong = []

    def collect():
        while (item := flying.get()) is not None:
            number, ticket, labels = item
            executor.collect(ticket)
            if not np.array_equal(labels, expected(picture(number))):
                wrong.append(number)
            room.release()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    for number in range(300):
        assert room.acquire(timeout=10)
        labels = empty()
        flying.put((number, executor.submit(picture(number), labels), labels))
    flying.put(None)
    thread.join(10)
    assert not thread.is_alive()
    assert wrong == []
    executor.close()


@pytest.mark.parametrize("lost", [False, True])
def test_in_the_loop_every_frame_gets_its_labels_and_a_lost_gpu_is_a_fault(bundle, lost):
    cuda = SimulatedCuda(eager=0.3)
    backend, sink = ExecutorBackend(cuda, (1, *HW)), Record()
    with Segmenter(bundle, backend=backend) as segmenter:
        stream = stream_of(segmenter, Frames(200), [sink])
        if not lost:
            stream.run()
            assert sink.ids == list(range(200))
            assert backend.executor.host_copies == "no buffer was locked"  # not any more
            assert cuda.calls.count("cuMemHostRegister") == cuda.calls.count("cuMemHostUnregister") > 4
        else:
            with pytest.raises(FaultError, match="ILLEGAL_ADDRESS"):  # noqa: PT012
                for result in stream:
                    if result.frame_id == 20:
                        cuda.lost = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
            report = stream.report()
            assert stream.health.state == "fault"
            assert (sink.closed, sink.ids) == (1, list(range(report.frames_out)))
            assert report.frames_out + report.frames_unfinished == report.frames_in
    assert bool(cuda.memory) == lost
