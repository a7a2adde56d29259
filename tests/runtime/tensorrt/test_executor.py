"""Frames through the executor over a simulated driver: in whatever order, labels are those of the frame."""

from __future__ import annotations

import ctypes
import logging
import queue
import random
import threading
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_cuda import CUresult, SimulatedCuda
from stream_parts import HW, Frames, Record, stream_of

from danet_runtime import Segmenter
from danet_runtime.errors import BackendError, FaultError, FrameError, UsageError
from danet_runtime.host_memory import page_aligned
from danet_runtime.tensorrt.cuda_driver import CudaDriver
from danet_runtime.tensorrt.cuda_session import CudaSession
from danet_runtime.tensorrt.executor import Executor

H, W = 2, 6
FRAME, LABELS = (1, H, W, 3), (1, H, W)
UPLOAD, COMPUTE, DOWNLOAD, HOST = 1, 2, 3, 0  # streams in the order of their making


class Model:
    """Labels are the sum of a pixel's bytes; two kernels, the first into its own scratch memory."""

    def __init__(self, cuda):
        self.cuda = cuda
        self.scratch = np.zeros(LABELS, np.uint8)
        self.released = 0
        self.error = None
        self.calls = 0

    def __call__(self, stream, inputs, outputs):
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.cuda.enqueue(stream, partial(self.sum_up, inputs["frame"]))
        self.cuda.enqueue(stream, partial(self.write, outputs["labels"]))

    def sum_up(self, address):
        frame = np.frombuffer((ctypes.c_uint8 * int(np.prod(FRAME))).from_address(address), np.uint8)
        self.scratch[:] = frame.reshape(FRAME).sum(-1, dtype=np.uint8)

    def write(self, address):
        ctypes.memmove(address, self.scratch.ctypes.data, self.scratch.nbytes)

    def release(self):
        self.released += 1


def make(cuda, **options):
    model = Model(cuda)
    session = CudaSession(CudaDriver(cuda))
    return Executor(session, model, FRAME, LABELS, release=model.release, **options), model


def picture(number):
    return np.random.default_rng(number).integers(0, 256, FRAME, np.uint8)


def expected(frame):
    return frame.sum(-1, dtype=np.uint8)


def empty():
    return np.empty(LABELS, np.uint8)


class Guest:
    """An array of another library, on the simulated device."""

    def __init__(self, cuda, array, stream=None, version=3, **changes):
        self.array = cuda.device_array(array)
        fields = {
            **{"shape": array.shape, "typestr": "|u1", "data": (array.ctypes.data, False)},
            **{"strides": None, "version": version, "stream": stream},
        }
        self.__cuda_array_interface__ = {**fields, **changes}


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
            if labels is not None:
                times = executor.collect(ticket)
                np.testing.assert_array_equal(labels, truth)
                assert min(times) >= 0
            else:
                stay, _ = executor.collect_on_device(ticket)
                # Another library reads them later, on its own stream.
                seen = np.zeros(LABELS, np.uint8)
                cuda.enqueue(readers, partial(ctypes.memmove, seen.ctypes.data, stay.address, seen.nbytes))
                stay.read_by(readers)
                reads.append((seen, truth))
            continue
        frame, labels = picture(number), None if how == "stays" else np.zeros(LABELS, np.uint8)
        if labels is not None and which % 2:
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
    cuda.drain()
    for seen, truth in reads:
        np.testing.assert_array_equal(seen, truth)
    executor.close()
    assert not cuda.memory
    assert not cuda.registered


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


def schedules(seed):
    chosen = random.Random(seed)
    return [
        (chosen.choice(("submit", "collect")), chosen.choice(("host", "guest", "stays")), chosen.randrange(4))
        for _ in range(30)
    ]


WAITS = {
    "compute for upload": lambda waiting, recording: (waiting, recording) == (COMPUTE, UPLOAD),
    "download for compute": lambda waiting, recording: (waiting, recording) == (DOWNLOAD, COMPUTE),
    "host for download": lambda waiting, recording: (waiting, recording) == (HOST, DOWNLOAD),
    "compute for the guest's stream": lambda waiting, recording: waiting == COMPUTE and recording == 4,
    "upload for the guest's stream": lambda waiting, recording: waiting == UPLOAD and recording == 4,
    "compute for the reader's stream": lambda waiting, recording: waiting == COMPUTE and recording == 5,
}


@pytest.mark.parametrize("wait", WAITS)
def test_each_wait_is_needed_and_the_simulator_shows_it(wait):
    """Without it some schedule gives the labels of another frame; with it none of the same ones does."""
    graph = wait.startswith("upload")

    def wrong(ignore):
        found = 0
        for seed in range(40):
            try:
                drive(SimulatedCuda(seed, ignore, eager=0.4), schedules(seed), 2, graph)
            except AssertionError:
                found += 1
        return found

    assert wrong(WAITS[wait]) > 0
    assert wrong(lambda *_: False) == 0


def test_two_frames_are_in_flight_before_anything_is_waited_for():
    cuda = SimulatedCuda(eager=0.0)
    executor, _ = make(cuda)
    cuda.calls.clear()
    labels = empty()
    first, second = executor.submit(picture(1), empty()), executor.submit(picture(2), labels)
    assert not {"cuEventSynchronize", "cuStreamSynchronize", "cuCtxSynchronize"} & set(cuda.calls)
    cuda.calls.clear()
    executor.collect(first)
    assert cuda.calls == ["cuCtxSetCurrent", "cuEventSynchronize", *["cuEventElapsedTime"] * 3]
    executor.collect(second)
    np.testing.assert_array_equal(labels, expected(picture(2)))
    executor.close()


def test_a_third_frame_and_a_ticket_twice_are_refused():
    executor, _ = make(SimulatedCuda())
    tickets = [executor.submit(picture(number), empty()) for number in (1, 2)]
    with pytest.raises(UsageError, match="all 2 slots are in flight"):
        executor.submit(picture(3), empty())
    executor.collect(tickets[0])
    with pytest.raises(UsageError, match="nothing is in flight with the ticket 0"):
        executor.collect(tickets[0])
    stays = executor.submit(picture(3), None)
    with pytest.raises(UsageError, match="stay on the GPU; collect them there"):
        executor.collect(stays)
    with pytest.raises(BackendError, match=r"labels must be C-contiguous uint8 \(1, 2, 6\)"):
        executor.submit(picture(3), np.empty((1, 3, 6), np.uint8))
    executor.close()


def test_locked_buffers_are_copied_from_and_to_without_a_copy_on_the_host():
    cuda = SimulatedCuda(eager=0.0)
    executor, _ = make(cuda)
    frame, labels = page_aligned(FRAME), page_aligned(LABELS)
    executor.pin(frame, labels)
    executor.pin(frame)  # harmless
    assert cuda.calls.count("cuMemHostRegister") == 2
    assert executor.host_copies == "none"
    ticket = executor.submit(frame, labels)
    frame[:] = picture(7)  # nothing has run yet: what is uploaded is what the array holds then
    executor.collect(ticket)
    np.testing.assert_array_equal(labels, expected(picture(7)))
    executor.unpin(frame, labels)
    executor.unpin(frame)
    assert not cuda.registered
    executor.close()
    executor.unpin(frame)


def test_two_executors_share_the_lock_of_a_buffer_and_the_last_one_opens_it():
    cuda = SimulatedCuda()
    frame = page_aligned(FRAME)
    first, second = make(cuda)[0], make(cuda)[0]
    for executor in (first, second):
        executor.pin(frame)
    assert cuda.calls.count("cuMemHostRegister") == 1
    first.close()
    assert cuda.registered
    second.unpin(frame)
    assert not cuda.registered
    second.close()


def test_where_the_driver_locks_no_memory_frames_are_copied_and_that_is_said_once(caplog):
    cuda = SimulatedCuda()
    cuda.refuse["cuMemHostRegister"] = CUresult.CUDA_ERROR_INVALID_VALUE
    executor, _ = make(cuda)
    frame, labels = page_aligned(FRAME), page_aligned(LABELS)
    with caplog.at_level(logging.WARNING):
        executor.pin(frame, labels)
    (said,) = [entry.getMessage() for entry in caplog.records]
    assert "frames are copied on the host" in said
    assert "CUDA_ERROR_INVALID_VALUE" in executor.host_copies
    frame[:] = picture(4)
    executor.collect(executor.submit(frame, labels))
    np.testing.assert_array_equal(labels, expected(picture(4)))
    executor.close()


class Odd(Model):
    """Cannot be captured, for one reason or another."""

    trouble = "refused"
    elsewhere = 0

    def __call__(self, stream, inputs, outputs):
        capturing = self.cuda.capturing is not None
        if capturing and self.trouble == "raises":
            raise RuntimeError("it allocates")
        strays = capturing and self.trouble == "elsewhere"
        super().__call__(self.elsewhere if strays else stream, inputs, outputs)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [("refused", "CAPTURE_INVALIDATED"), ("raises", "it allocates"), ("elsewhere", "graph is empty")],
)
def test_a_capture_that_fails_is_said_once_and_the_model_runs_without(caplog, trouble, words):
    cuda = SimulatedCuda()
    cuda.refuse_capture = trouble == "refused"
    model = Odd(cuda)
    model.trouble, model.elsewhere = trouble, cuda.new_stream()
    with caplog.at_level(logging.WARNING):
        executor = Executor(CudaSession(CudaDriver(cuda)), model, FRAME, LABELS)
    (said,) = [entry.getMessage() for entry in caplog.records]
    assert words in said
    assert words in executor.graph
    labels = np.empty(LABELS, np.uint8)
    for number in range(4):
        executor.collect(executor.submit(picture(number), labels))
        np.testing.assert_array_equal(labels, expected(picture(number)))
    assert "cuGraphLaunch" not in cuda.calls
    executor.close()


def test_a_captured_model_is_launched_as_a_graph_and_not_called_again():
    cuda = SimulatedCuda()
    executor, model = make(cuda, depth=3)
    assert model.calls == 1 + 3  # for real, then one capture a slot
    labels = np.empty(LABELS, np.uint8)
    for number in range(6):
        executor.collect(executor.submit(picture(number), labels))
    assert (model.calls, cuda.calls.count("cuGraphLaunch")) == (4, 6)
    executor.close()
    assert cuda.calls.count("cuGraphExecDestroy") == 3


def test_a_guest_is_read_in_place_without_a_graph_and_copied_on_the_gpu_with_one():
    for graph in (False, True):
        cuda = SimulatedCuda()
        executor, _ = make(cuda, graph=graph)
        cuda.calls.clear()
        labels, frame = np.empty(LABELS, np.uint8), picture(5)
        for array in (frame, frame[0]):  # with and without the leading 1
            times = executor.collect(executor.submit(Guest(cuda, array), labels))
            np.testing.assert_array_equal(labels, expected(frame))
        assert "cuMemcpyHtoDAsync" not in cuda.calls
        assert cuda.calls.count("cuMemcpyDtoDAsync") == (2 if graph else 0)
        assert (times.upload_ms > 0) == graph
        executor.close()


def strided(array, **changes):
    return {"shape": array.shape, "strides": array.strides, **changes}


REFUSED = {
    "type": ({"typestr": "<f4"}, r"uint8, C-contiguous \(2, 6, 3\) \(got <f4"),
    "shape": ({"shape": (1, 3, 2, 6)}, r"got \|u1 \(1, 3, 2, 6\)"),
    "strides": ({"strides": (36, 3, 6, 1)}, r"with the strides \(36, 18, 3, 1\) \(got \(36, 3, 6, 1\)\)"),
    "mask": ({"mask": object()}, "no mask"),
    "stream 0": ({"stream": 0}, "must not give the stream 0"),
    "host": ({"data": (4096, False)}, "must have a device address"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_guest_that_is_no_such_frame_is_refused_and_the_next_one_runs(what):
    changes, complaint = REFUSED[what]
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    with pytest.raises(FrameError, match=complaint):
        executor.submit(Guest(cuda, picture(1), **changes), empty())
    with pytest.raises(FrameError, match=r"__dlpack__ \(got list\)"):
        executor.submit([1, 2], empty())
    labels = np.empty(LABELS, np.uint8)
    executor.collect(executor.submit(Guest(cuda, picture(2)), labels))
    np.testing.assert_array_equal(labels, expected(picture(2)))
    executor.close()


def test_the_stride_of_an_extent_of_one_may_be_anything():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    frame = picture(1)
    executor.submit(Guest(cuda, frame, strides=(7, *frame.strides[1:])), empty())
    executor.close()


class Packed:
    """A tensor that offers DLPack as PyTorch does: beside an interface that says nothing of streams."""

    def __init__(self, cuda, array, device=(2, 0)):
        self.__cuda_array_interface__ = {"version": 2}
        self.array, self.device, self.cuda = cuda.device_array(array), device, cuda
        self.streams = []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream):
        self.streams.append(stream)
        return self.array.__dlpack__()


def test_dlpack_is_taken_with_the_stream_that_reads_and_freed_when_it_is_collected():
    for graph in (False, True):
        cuda = SimulatedCuda()
        executor, _ = make(cuda, graph=graph)
        tensor, labels = Packed(cuda, picture(3)), np.empty(LABELS, np.uint8)
        ticket = executor.submit(tensor, labels)
        assert tensor.streams == [UPLOAD if graph else COMPUTE]
        executor.collect(ticket)
        np.testing.assert_array_equal(labels, expected(picture(3)))
        with pytest.raises(FrameError, match=r"must be on the GPU 0 \(got DLPack's device 1"):
            executor.submit(Packed(cuda, picture(3), device=(1, 0)), empty())
        with pytest.raises(FrameError, match=r"DLPack's type 2 of 32 bits"):
            executor.submit(Packed(cuda, picture(3).astype(np.float32)), empty())
        with pytest.raises(FrameError, match="with the strides"):
            executor.submit(Packed(cuda, np.asfortranarray(picture(3))), empty())
        executor.close()


def test_an_interface_without_streams_waits_for_the_default_stream():
    cuda = SimulatedCuda()
    cuda.new_stream()  # number 1: the legacy default stream
    executor, _ = make(cuda)
    executor.submit(Guest(cuda, picture(1), version=2), empty())
    assert cuda.recorded_on
    assert 1 in cuda.recorded_on.values()
    executor.close()


def test_labels_on_the_gpu_are_valid_until_their_slot_is_used_again():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    labels, times = executor.collect_on_device(executor.submit(picture(1), None))
    assert times.download_ms == 0
    interface = labels.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["version"]) == (LABELS, "|u1", 3)
    seen = np.frombuffer((ctypes.c_uint8 * (H * W)).from_address(interface["data"][0]), np.uint8)
    np.testing.assert_array_equal(seen.reshape(LABELS), expected(picture(1)))
    executor.submit(picture(2), empty())  # the other slot
    _ = labels.address
    executor.submit(picture(3), empty())
    with pytest.raises(FrameError, match="used again"):
        _ = labels.__cuda_array_interface__
    executor.close()


def test_a_lost_gpu_is_the_same_fault_for_everything_after_and_close_returns(caplog):
    cuda = SimulatedCuda()
    executor, model = make(cuda)
    ticket = executor.submit(picture(1), empty())
    cuda.lost = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(FaultError, match=r"ILLEGAL_ADDRESS: the GPU's context is lost") as raised:
        executor.collect(ticket)
    assert raised.value.exit_code == 3
    calls = len(cuda.calls)
    for again in (
        lambda: executor.submit(picture(2), empty()),
        lambda: executor.collect(ticket),
        lambda: executor.collect_on_device(ticket),
    ):
        with pytest.raises(FaultError) as later:
            again()
        assert later.value is raised.value
    executor.close()
    executor.close()
    assert len(cuda.calls) == calls  # nobody asked the lost GPU for anything
    assert model.released == 0  # its destructor would


def test_a_model_that_fails_on_a_lost_gpu_in_its_own_words_is_a_fault():
    cuda = SimulatedCuda()
    executor, _ = make(cuda, graph=False)

    def fail(stream, inputs, outputs):
        cuda.lost = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
        raise RuntimeError("an illegal memory access was encountered")

    executor._enqueue = fail
    with pytest.raises(FaultError, match="ILLEGAL_ADDRESS"):
        executor.submit(picture(1), empty())
    executor.close()


def test_an_error_of_one_frame_costs_that_frame_alone():
    cuda = SimulatedCuda()
    executor, model = make(cuda, graph=False)
    first, third = empty(), empty()
    before = executor.submit(picture(1), first)
    model.error = BackendError("not this one")
    for _ in range(5):
        with pytest.raises(BackendError, match="not this one"):
            executor.submit(picture(2), empty())
    model.error = None
    after = executor.submit(picture(3), third)
    for ticket, number, labels in ((after, 3, third), (before, 1, first)):
        executor.collect(ticket)
        np.testing.assert_array_equal(labels, expected(picture(number)))
    cuda.refuse["cuMemcpyHtoDAsync"] = CUresult.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(
        BackendError, match="cuMemcpyHtoDAsync failed with CUDA_ERROR_INVALID_VALUE"
    ) as raised:
        executor.submit(picture(4), empty())
    assert not isinstance(raised.value, FaultError)
    cuda.refuse.clear()
    executor.collect(executor.submit(picture(5), labels))
    np.testing.assert_array_equal(labels, expected(picture(5)))
    executor.close()
    assert (model.released, cuda.memory) == (1, {})


def test_too_little_memory_at_the_start_is_no_fault_and_frees_what_was_there():
    cuda = SimulatedCuda()
    cuda.most_memory = 20
    with pytest.raises(BackendError, match="CUDA_ERROR_OUT_OF_MEMORY") as raised:
        make(cuda)
    assert not isinstance(raised.value, FaultError)
    assert cuda.memory == {}


def test_close_gives_up_on_a_gpu_that_never_ends(monkeypatch):
    monkeypatch.setattr("danet_runtime.tensorrt.executor.CLOSE_GRACE_S", 0.05)
    cuda = SimulatedCuda(eager=0.0)
    executor, model = make(cuda)
    executor.submit(picture(1), empty())
    cuda.hung = True
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 1
    assert model.released == 0
    assert "cuMemFree" not in cuda.calls
    with pytest.raises(BackendError, match="is closed; open another"):
        executor.submit(picture(2), empty())


def test_close_gives_up_on_a_thread_that_hangs_inside(monkeypatch):
    monkeypatch.setattr("danet_runtime.tensorrt.executor.CLOSE_GRACE_S", 0.05)
    cuda = SimulatedCuda(eager=0.0)
    executor, model = make(cuda)
    ticket, release = executor.submit(picture(1), empty()), threading.Event()
    cuda._wait = lambda _holds: (release.wait(10), (CUresult.CUDA_SUCCESS,))[1]
    thread = threading.Thread(target=executor.collect, args=(ticket,))
    thread.start()
    while "cuEventSynchronize" not in cuda.calls:
        time.sleep(0.001)
    executor.close()
    assert model.released == 0
    assert "cuMemFree" not in cuda.calls
    release.set()
    thread.join()


def test_times_are_of_the_gpus_own_clock():
    executor, _ = make(SimulatedCuda(eager=0.0))
    times = executor.collect(executor.submit(picture(1), empty()))
    assert times == (3.0, 3.0, 3.0)  # two halves or two kernels, and the second event
    executor.close()


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


class Backend:
    """An executor in the loop."""

    name = "executor"

    def __init__(self, cuda, shape):
        self.cuda, self.depth, self.count = cuda, 2, int(np.prod(shape))
        self.executor = Executor(CudaSession(CudaDriver(cuda)), self.enqueue, (*shape, 3), shape, depth=2)
        self.submit, self.collect = self.executor.submit, self.executor.collect
        self.pin, self.unpin = self.executor.pin, self.executor.unpin
        self.close = self.executor.close

    def enqueue(self, stream, inputs, outputs):
        """Labels are the frame's first channel."""

        def run():
            frame = (ctypes.c_uint8 * (3 * self.count)).from_address(inputs["frame"])
            ctypes.memmove(outputs["labels"], bytes(frame[::3]), self.count)

        self.cuda.enqueue(stream, run)

    def infer(self, frame, labels):
        self.collect(self.submit(frame, labels))

    def describe(self):
        return {"name": self.name}


@pytest.mark.parametrize("lost", [False, True])
def test_in_the_loop_every_frame_gets_its_labels_and_a_lost_gpu_is_a_fault(bundle, lost):
    cuda = SimulatedCuda(eager=0.3)
    backend, sink = Backend(cuda, (1, *HW)), Record()
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
