"""The executor's slots, locked buffers and graphs, over a simulated driver."""

from __future__ import annotations

import ctypes
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from executor_parts import FRAME, LABELS, Guest, H, Model, W, empty, expected, make, picture
from simulated_cuda import CUresult, SimulatedCuda

from danet_runtime.errors import BackendError, UsageError
from danet_runtime.frames.arrays import page_aligned
from danet_runtime.tensorrt.cuda.driver import CudaDriver
from danet_runtime.tensorrt.cuda.executor import Executor
from danet_runtime.tensorrt.cuda.graph import capture
from danet_runtime.tensorrt.cuda.session import CudaSession


def test_two_frames_are_in_flight_before_anything_is_waited_for():
    cuda = SimulatedCuda(eager=0.0)
    executor, _ = make(cuda)
    cuda.calls.clear()
    labels = empty()
    first, second = executor.submit(picture(1), empty()), executor.submit(picture(2), labels)
    assert not {"cuEventSynchronize", "cuStreamSynchronize", "cuCtxSynchronize"} & set(cuda.calls)
    cuda.calls.clear()
    executor.collect(first)
    assert cuda.calls == [
        *("cuCtxPushCurrent", "cuEventSynchronize", *["cuEventElapsedTime"] * 3, "cuCtxPopCurrent")
    ]
    executor.collect(second)
    np.testing.assert_array_equal(labels, expected(picture(2)))
    executor.close()


def test_labels_that_may_not_be_written_never_reach_the_driver():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    read_only, frame = empty(), picture(1)
    read_only.flags.writeable = False
    inside = frame.reshape(-1)[: H * W].reshape(LABELS)
    cuda.calls.clear()
    for labels, why in ((read_only, "labels are read-only"), (inside, "share memory with the frame")):
        with pytest.raises(BackendError, match=why):
            executor.submit(frame, labels)
    assert set(cuda.calls) == {"cuCtxPushCurrent", "cuCtxPopCurrent"}
    executor.close()


def test_what_many_threads_submit_stands_in_the_streams_frame_by_frame():
    executor, _ = make(SimulatedCuda(), depth=4)
    together = threading.Barrier(4)

    def call(number):
        labels = empty()
        together.wait(20)
        for turn in range(20):
            frame = picture(100 * number + turn)
            executor.collect(executor.submit(frame, labels))
            np.testing.assert_array_equal(labels, expected(frame))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))
    executor.close()


def test_a_third_frame_and_a_ticket_twice_are_refused():
    executor, _ = make(SimulatedCuda())
    tickets = [executor.submit(picture(number), empty()) for number in (1, 2)]
    with pytest.raises(UsageError, match="all 2 slots are in flight"):
        executor.submit(picture(3), empty())
    executor.collect(tickets[0])
    with pytest.raises(UsageError, match="nothing is in flight with the ticket 0"):
        executor.collect(tickets[0])
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
    (message,) = [entry.getMessage() for entry in caplog.records]
    assert "frames are copied on the host" in message
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
        executor = Executor(CudaSession(CudaDriver(cuda)), model.bind, FRAME, LABELS)
    (message,) = [entry.getMessage() for entry in caplog.records]
    assert words in message
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
    assert model.calls == 3 + 3  # each slot for real, then its capture
    labels = np.empty(LABELS, np.uint8)
    for number in range(6):
        executor.collect(executor.submit(picture(number), labels))
    assert (model.calls, cuda.calls.count("cuGraphLaunch")) == (6, 6)
    executor.close()
    assert cuda.calls.count("cuGraphExecDestroy") == 3


class Preparing(Model):
    """Loads code when it runs between its addresses for the first time, as TensorRT's plugins do."""

    def bind(self, inputs, outputs):
        enqueue, prepared = super().bind(inputs, outputs), []

        def run(stream):
            if not prepared:
                self.session.call("cuModuleLoadDataEx", b"code", 0, [], [])
                prepared.append(stream)
            enqueue(stream)

        return run


def test_each_slot_is_prepared_before_its_capture_in_which_no_code_can_be_loaded():
    cuda = SimulatedCuda()
    model, session = Preparing(cuda), CudaSession(CudaDriver(cuda))
    model.session = session
    executor = Executor(session, model.bind, FRAME, LABELS, depth=3)
    assert executor.graph == "captured"
    assert cuda.calls.count("cuModuleLoadDataEx") == 3
    for number in range(6):
        labels = empty()
        executor.collect(executor.submit(picture(number), labels))
        np.testing.assert_array_equal(labels, expected(picture(number)))
    with session.active():
        unprepared, stream = model.bind({"frame": 0}, {"labels": 0}), cuda.new_stream()
        with pytest.raises(BackendError, match=r"cuModuleLoadDataEx failed with .*CAPTURE_UNSUPPORTED"):
            capture(session, stream, lambda: unprepared(stream))
    executor.close()


@pytest.mark.parametrize("graph", [False, True])
def test_a_gpu_that_shares_the_hosts_memory_reads_and_writes_it_without_a_copy(graph):
    cuda = SimulatedCuda(eager=0.3)
    cuda.integrated = True
    executor, _ = make(cuda, graph=graph)
    assert cuda.calls.count("cuMemHostAlloc") == cuda.calls.count("cuMemHostGetDevicePointer") == 4
    assert "cuMemAlloc" not in cuda.calls  # no second buffer
    cuda.calls.clear()
    flying = []
    for number in range(12):
        if len(flying) == executor.depth:
            before, ticket, labels = flying.pop(0)
            executor.collect(ticket)
            np.testing.assert_array_equal(labels, expected(picture(before)))
        labels, frame = empty(), picture(number)
        flying.append((number, executor.submit(frame, labels), labels))
        frame[:] = 0  # the slot has it
    assert not [call for call in cuda.calls if call.startswith("cuMemcpy")]
    for _, ticket, _ in flying:
        executor.collect(ticket)
    executor.close()
    assert not cuda.memory


def test_where_memory_is_shared_the_gpu_copies_locked_arrays_and_guests_alone():
    cuda = SimulatedCuda(eager=0.0)
    cuda.integrated = True
    executor, _ = make(cuda)
    frame, labels = page_aligned(FRAME), page_aligned(LABELS)
    executor.pin(frame, labels)
    cuda.calls.clear()
    ticket = executor.submit(frame, labels)
    frame[:] = picture(7)
    executor.collect(ticket)
    np.testing.assert_array_equal(labels, expected(picture(7)))
    assert [call for call in cuda.calls if call.startswith("cuMemcpy")] == ["cuMemcpyAsync"] * 2
    stays = executor.make_labels()
    executor.collect(executor.submit(Guest(cuda, picture(8)), stays))
    there = (ctypes.c_uint8 * labels.size).from_address(stays.address)
    np.testing.assert_array_equal(np.frombuffer(there, np.uint8).reshape(LABELS), expected(picture(8)))
    executor.close()


def test_times_are_of_the_gpus_own_clock():
    executor, _ = make(SimulatedCuda(eager=0.0))
    times = executor.collect(executor.submit(picture(1), empty()))
    assert times == (3.0, 3.0, 3.0)  # two halves or two kernels, and the second event
    executor.close()
