"""Arrays in CUDA contexts of other libraries, as pycuda makes them, and threads that have such a context."""

from __future__ import annotations

import numpy as np
import pytest
from executor_parts import FRAME, LABELS, GPUArray, Guest, empty, expected, fill_later, make, picture
from simulated_cuda import LEGACY, PRIMARY, SimulatedCuda

from danet_runtime.errors import FrameError

OWN = 77  # a context that is not the primary one, as of pycuda.autoinit


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("context", [PRIMARY, OWN])
@pytest.mark.parametrize("seed", range(6))
def test_a_gpuarray_that_pycuda_is_still_writing_is_waited_for(seed, context, graph):
    cuda = SimulatedCuda(seed, eager=0.4)
    cuda.stack.append(context)
    executor, _ = make(cuda, graph=graph)
    default = cuda.default_stream(context)
    for number in range(8):
        array, labels = np.zeros(FRAME, np.uint8), empty()
        frame = GPUArray(cuda, array, context=context)
        fill_later(cuda, default, array, picture(number))
        executor.collect(executor.submit(frame, labels))
        np.testing.assert_array_equal(labels, expected(picture(number)))
        assert cuda.stack == [context]
    executor.close()
    assert cuda.stack == [context]


def test_only_pycuda_is_doubted_when_it_says_that_nothing_is_under_way():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    executor.submit(Guest(cuda, picture(1)), empty())
    assert LEGACY not in cuda.recorded_on.values()
    executor.close()


@pytest.mark.parametrize("graph", [False, True])
def test_a_frame_of_another_context_is_copied_between_the_two_and_never_read_in_place(graph):
    cuda = SimulatedCuda()
    executor, _ = make(cuda, graph=graph)
    cuda.calls.clear()
    labels = empty()
    stream = cuda.new_stream(OWN)
    times = executor.collect(executor.submit(Guest(cuda, picture(3), stream=stream, context=OWN), labels))
    np.testing.assert_array_equal(labels, expected(picture(3)))
    assert cuda.calls.count("cuMemcpyPeerAsync") == 1
    assert "cuMemcpyDtoDAsync" not in cuda.calls
    assert cuda.calls.count("cuEventCreate") == cuda.calls.count("cuEventDestroy") == 1
    assert times.upload_ms > 0
    executor.close()


@pytest.mark.parametrize("context", [PRIMARY, OWN])
@pytest.mark.parametrize("seed", range(6))
def test_labels_go_into_the_callers_array_after_those_who_still_read_it(seed, context):
    cuda = SimulatedCuda(seed, eager=0.4)
    executor, _ = make(cuda)
    default, array = cuda.default_stream(context), empty()
    target = GPUArray(cuda, array, context=context)
    before = None
    for number in range(8):
        executor.collect(executor.submit(picture(number), target))
        seen = empty()
        cuda.enqueue(default, lambda seen=seen: np.copyto(seen, array))  # pycuda reads it, some time
        if before is not None:
            cuda.drain()
            np.testing.assert_array_equal(before[0], before[1])
        before = (seen, expected(picture(number)))
    executor.close()


def test_a_threads_contexts_are_as_they_were_after_every_call_also_one_that_fails():
    cuda = SimulatedCuda()
    cuda.stack.extend((OWN, OWN + 1))
    executor, model = make(cuda, graph=False)
    labels = empty()
    executor.collect(executor.submit(picture(1), labels))
    with pytest.raises(FrameError):
        executor.submit(Guest(cuda, picture(1), mask=object()), labels)
    model.error = RuntimeError("the model fails")
    with pytest.raises(Exception, match="the model fails"):
        executor.submit(picture(1), labels)
    assert cuda.stack == [OWN, OWN + 1]
    executor.close()
    assert cuda.stack == [OWN, OWN + 1]


def test_labels_that_the_callers_context_could_not_read_are_refused_with_what_to_do():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    labels = executor.make_labels()
    with pytest.raises(FrameError, match=r"the frame is in another CUDA context.*labels of your own"):
        executor.submit(Guest(cuda, picture(1), context=OWN), labels)
    cuda.stack.append(OWN)
    with pytest.raises(FrameError, match=r"the calling thread works in another CUDA context"):
        executor.make_labels()
    cuda.stack[:] = [PRIMARY]
    executor.collect(executor.submit(picture(2), executor.make_labels()))
    assert labels.shape == LABELS
    executor.close()
