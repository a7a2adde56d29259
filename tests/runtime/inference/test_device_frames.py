"""Frames and labels on the GPU through the segmenter and the stream, over a simulated driver."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from executor_parts import ExecutorBackend, GPUArray, Guest, fill_later
from simulated_cuda import SimulatedCuda
from stream_parts import HW, stream_of

from danet_runtime import Segmenter
from danet_runtime.errors import BackendError, FrameError, UsageError
from danet_runtime.tensorrt.cuda.device_reader import DeviceReader
from danet_runtime.tensorrt.cuda.driver import CudaDriver
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.tensorrt.device_source import DeviceSource

OWN = 77  # a context of pycuda's own


def picture(number):
    return np.random.default_rng(number).integers(0, 256, (*HW, 3), np.uint8)


@pytest.fixture
def cuda():
    return SimulatedCuda(eager=0.3)


@pytest.fixture
def segmenter(bundle, cuda):
    with Segmenter(bundle, backend=ExecutorBackend(cuda, (1, *HW))) as made:
        yield made


def test_a_frame_on_the_gpu_gives_labels_of_the_host(segmenter, cuda):
    for kind in (Guest, GPUArray):
        labels = segmenter.labels_of(kind(cuda, picture(1)))
        np.testing.assert_array_equal(labels, picture(1)[..., 0])
        assert (type(labels), labels.shape) == (np.ndarray, HW)
    assert "cuMemcpyHtoDAsync" not in cuda.calls


def test_labels_stay_on_the_gpu_where_that_is_asked_for_of_any_frame_of_the_bundles_size(segmenter, cuda):
    kept = [segmenter.labels_of(frame, on_device=True) for frame in (Guest(cuda, picture(1)), picture(2))]
    assert "cuMemcpyDtoHAsync" not in cuda.calls
    for number, labels in enumerate(kept, start=1):
        memory = (ctypes.c_uint8 * (HW[0] * HW[1])).from_address(labels.address)
        np.testing.assert_array_equal(np.frombuffer(memory, np.uint8).reshape(HW), picture(number)[..., 0])


def test_labels_go_into_arrays_of_the_callers_in_pycudas_own_context_too(segmenter, cuda):
    cuda.stack.append(OWN)
    frame, labels = np.zeros((*HW, 3), np.uint8), np.zeros(HW, np.uint8)
    guest, target = (GPUArray(cuda, array, context=OWN) for array in (frame, labels))
    for number in range(4):
        fill_later(cuda, cuda.default_stream(OWN), frame, picture(number))
        times = segmenter.infer_into(guest, target)
        np.testing.assert_array_equal(labels, picture(number)[..., 0])
        assert (times.preprocess_ns, times.postprocess_ns) == (0, 0)
        assert cuda.stack == [OWN]
    with pytest.raises(FrameError, match="labels of your own in that context"):
        segmenter.labels_of(guest, on_device=True)


def test_frames_overlap_from_the_gpu_to_the_gpu(segmenter, cuda):
    pairs = []
    for number in range(2):
        target = np.zeros(HW, np.uint8)
        pairs.append((target, segmenter.submit(Guest(cuda, picture(number)), Guest(cuda, target))))
    for number, (target, submission) in enumerate(pairs):
        segmenter.collect(submission)
        np.testing.assert_array_equal(target, picture(number)[..., 0])


def test_what_does_not_fit_is_refused_with_what_to_do_and_the_next_frame_runs(segmenter, cuda):
    small = Guest(cuda, picture(1)[:40].copy())
    target = Guest(cuda, np.zeros(HW, np.uint8))
    with pytest.raises(FrameError, match=r"\(48, 64, 3\), the bundle's own size \(got \|u1 \(40, 64, 3\)"):
        segmenter.labels_of(small)
    with pytest.raises(FrameError, match=r"frames of the bundle's own layout and size.*\(100, 64, 3\)"):
        segmenter.infer_into(np.zeros((100, 64, 3), np.uint8), target)
    with pytest.raises(FrameError, match=r"labels must be uint8 \(48, 64\)"):
        segmenter.infer_into(Guest(cuda, picture(1)), np.zeros((4, 4), np.uint8))
    with pytest.raises(FrameError, match=r"labels must be a numpy array, uint8 \(48, 64\) \(got list\)"):
        segmenter.infer_into(Guest(cuda, picture(1)), [])
    np.testing.assert_array_equal(segmenter.labels_of(Guest(cuda, picture(2))), picture(2)[..., 0])


def test_a_closed_segmenter_makes_no_labels(bundle, cuda):
    segmenter = Segmenter(bundle, backend=ExecutorBackend(cuda, (1, *HW)))
    segmenter.close()
    with pytest.raises(BackendError, match="the segmenter is closed"):
        segmenter.labels_of(picture(1), on_device=True)


def test_a_backend_on_the_cpu_says_what_came_and_what_to_do(bundle, cuda):
    with Segmenter(bundle) as segmenter:
        for call in (
            lambda: segmenter.labels_of(GPUArray(cuda, picture(1))),
            lambda: segmenter.infer_into(GPUArray(cuda, picture(1)), np.empty(HW, np.uint8)),
        ):
            with pytest.raises(FrameError, match=r"a frame on the GPU \(pycuda.GPUArray\)") as raised:
                call()
            assert 'choose the backend "tensorrt" or "tensorrt-rtx"' in str(raised.value)
            assert "onnxruntime" in str(raised.value)
            assert "pycuda's array.get()" in str(raised.value)
        with pytest.raises(FrameError, match=r"labels on the GPU \(pycuda.GPUArray\)"):
            segmenter.infer_into(picture(1), GPUArray(cuda, np.zeros(HW, np.uint8)))
        with pytest.raises(UsageError, match="leave on_device out"):
            segmenter.labels_of(picture(1), on_device=True)
        np.testing.assert_array_equal(segmenter.labels_of(picture(1)).shape, HW)


def test_a_tensor_of_the_host_is_told_apart_from_one_of_the_gpu(bundle, segmenter):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.from_numpy(picture(1))
    with Segmenter(bundle) as on_cpu:
        for one in (on_cpu, segmenter):
            with pytest.raises(FrameError, match=r"\(got torch.Tensor\); numpy.from_dlpack"):
                one(tensor)
    np.testing.assert_array_equal(segmenter.labels_of(np.from_dlpack(tensor)), picture(1)[..., 0])


def reader_of(cuda):
    cuda.takes_pageable = True
    return DeviceReader(CudaSession(CudaDriver(cuda)))


@pytest.mark.parametrize("context", [64, OWN])
def test_a_stream_reads_frames_where_they_lie_and_gives_them_on_the_host_too(
    bundle, segmenter, cuda, context
):
    def frames():
        for number in range(30):
            array = np.zeros((*HW, 3), np.uint8)
            fill_later(cuda, cuda.default_stream(context), array, picture(number))
            yield GPUArray(cuda, array, context=context)

    seen = []
    source = DeviceSource(frames(), HW, reader=reader_of(cuda))
    cuda.calls.clear()
    for result in stream_of(segmenter, source):
        np.testing.assert_array_equal(result.frame, picture(result.frame_id))
        np.testing.assert_array_equal(result.labels, picture(result.frame_id)[..., 0])
        seen.append(result.frame_id)
    assert seen == list(range(30))
    assert "cuMemcpyHtoDAsync" not in cuda.calls
    assert not cuda.stacks[threading.get_ident()]


def test_a_stream_over_the_cpu_says_that_frames_are_on_the_gpu(bundle, cuda):
    source = DeviceSource([Guest(cuda, picture(1))], HW, reader=reader_of(cuda))
    with Segmenter(bundle) as segmenter, pytest.raises(FrameError, match="needs a backend there"):
        stream_of(segmenter, source).run()


def test_a_source_of_the_gpu_takes_no_array_of_the_host(segmenter, cuda):
    source = DeviceSource([picture(1)], HW, reader=reader_of(cuda))
    with pytest.raises(FrameError, match=r"arrays on the GPU got numpy\.ndarray"):
        stream_of(segmenter, source).run()
