"""Arrays of other libraries through the executor: read in place, or refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from executor_parts import LABELS, UPLOAD, Guest, empty, expected, make, picture
from simulated_cuda import LEGACY, SimulatedCuda

from danet_runtime.errors import FrameError


def test_a_guest_is_copied_on_the_gpu_whether_there_is_a_graph_or_not():
    for graph in (False, True):
        cuda = SimulatedCuda()
        executor, _ = make(cuda, graph=graph)
        cuda.calls.clear()
        labels, frame = np.empty(LABELS, np.uint8), picture(5)
        for array in (frame, frame[0]):  # with and without the leading 1
            times = executor.collect(executor.submit(Guest(cuda, array), labels))
            np.testing.assert_array_equal(labels, expected(frame))
        assert "cuMemcpyHtoDAsync" not in cuda.calls
        assert cuda.calls.count("cuMemcpyDtoDAsync") == 2
        assert times.upload_ms > 0
        executor.close()


@pytest.mark.parametrize("graph", [False, True])
def test_frames_of_a_batch_that_begin_at_odd_addresses_never_reach_the_model_there(graph):
    cuda = SimulatedCuda()
    executor, _ = make(cuda, graph=graph)  # its model takes multiples of 256 alone
    around = np.zeros(3 * picture(0).size + 512, np.uint8)
    start = -around.ctypes.data % 256 + 3
    batch = around[start : start + 3 * picture(0).size].reshape(3, *picture(0).shape[1:])
    for number in range(3):
        batch[number] = picture(number)[0]
        frame, labels = batch[number], empty()
        assert frame.ctypes.data % 256
        executor.collect(executor.submit(Guest(cuda, frame), labels))
        np.testing.assert_array_equal(labels, expected(picture(number)))
    executor.close()


def strided(array, **changes):
    return {"shape": array.shape, "strides": array.strides, **changes}


REFUSED = {
    "type": ({"typestr": "<f4"}, r"uint8, C-contiguous \(2, 6, 3\), .* size \(got <f4"),
    "shape": ({"shape": (1, 3, 2, 6)}, r"got \|u1 \(1, 3, 2, 6\)"),
    "strides": ({"strides": (36, 3, 6, 1)}, r"with the strides \(36, 18, 3, 1\) \(got \(36, 3, 6, 1\)\)"),
    "mask": ({"mask": object()}, "has no mask"),
    "nothing else": ({"data": None}, "is not that of the protocol"),
    "stream 0": ({"stream": 0}, "must not give the stream 0"),
    "host": ({"data": (4096, False)}, "expected a device address"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_guest_that_is_no_such_frame_is_refused_and_the_next_one_runs(what):
    changes, complaint = REFUSED[what]
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    with pytest.raises(FrameError, match=complaint):
        executor.submit(Guest(cuda, picture(1), **changes), empty())
    with pytest.raises(FrameError, match=r"expected a numpy array, or .* __dlpack__ \(got list\)"):
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
        assert tensor.streams == [UPLOAD]
        executor.collect(ticket)
        np.testing.assert_array_equal(labels, expected(picture(3)))
        with pytest.raises(FrameError, match=r"expected an array on the GPU 0 \(got DLPack's device 1"):
            executor.submit(Packed(cuda, picture(3), device=(1, 0)), empty())
        with pytest.raises(FrameError, match=r"got float32 \(1, 2, 6, 3\)"):
            executor.submit(Packed(cuda, picture(3).astype(np.float32)), empty())
        with pytest.raises(FrameError, match="with the strides"):
            executor.submit(Packed(cuda, np.asfortranarray(picture(3))), empty())
        executor.close()


def test_an_interface_without_streams_waits_for_the_default_stream():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    executor.submit(Guest(cuda, picture(1), version=2), empty())
    assert LEGACY in cuda.recorded_on.values()
    executor.close()
