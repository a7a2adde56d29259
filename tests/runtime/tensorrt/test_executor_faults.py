"""What an executor does when the GPU, a model or a thread fails: never a hang, and no frame too many lost."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from executor_parts import empty, expected, make, picture
from simulated_cuda import CUresult, SimulatedCuda

from danet_runtime.errors import BackendError, FaultError


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
        executor.make_labels,
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

    def fail(stream):
        cuda.lost = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
        raise RuntimeError("an illegal memory access was encountered")

    for slot in executor._slots:
        slot.enqueue = fail
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
    monkeypatch.setattr("danet_runtime.tensorrt.cuda.executor.CLOSE_GRACE_S", 0.05)
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
    monkeypatch.setattr("danet_runtime.tensorrt.cuda.executor.CLOSE_GRACE_S", 0.05)
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
