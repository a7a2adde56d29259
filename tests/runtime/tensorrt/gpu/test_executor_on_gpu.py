"""The executor on a real GPU, with PyTorch's operators as the model: guests, overlap, and a lost context."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

H, W = 512, 1024
FRAME, LABELS = (1, H, W, 3), (1, H, W)
HERE = Path(__file__).parent


class At:
    """Memory at an address, for torch.as_tensor."""

    def __init__(self, address, shape):
        self.__cuda_array_interface__ = {
            **{"shape": shape, "typestr": "|u1", "data": (address, False)},
            **{"strides": None, "version": 3, "stream": None},
        }


def bind(inputs, outputs):
    """Labels are the sum of a pixel's bytes."""
    return partial(enqueue, inputs=inputs, outputs=outputs)


def enqueue(stream, inputs, outputs):
    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        frame = torch.as_tensor(At(inputs["frame"], FRAME), device="cuda")
        labels = torch.as_tensor(At(outputs["labels"], LABELS), device="cuda")
        torch.cuda._sleep(2_000_000)  # a millisecond or so: what is not ordered gets the time to go wrong
        labels.copy_(frame.sum(-1, dtype=torch.uint8))


def expected(frame):
    return frame.sum(-1, dtype=np.uint8)


@pytest.fixture(params=[False, True], ids=["no graph", "graph"])
def executor(request):
    from danet_runtime.tensorrt.cuda.executor import Executor
    from danet_runtime.tensorrt.cuda.session import CudaSession

    torch.zeros(1, device="cuda")
    made = Executor(CudaSession(), bind, FRAME, LABELS, depth=3, graph=request.param)
    yield made
    made.close()


def pictures(count):
    return [np.random.default_rng(number).integers(0, 256, FRAME, np.uint8) for number in range(count)]


def test_many_frames_under_way_come_back_as_their_own(executor):
    check_many(executor, pictures(8), [np.empty(LABELS, np.uint8) for _ in range(executor.depth)])


def test_locked_buffers_are_uploaded_from_and_downloaded_to_as_they_are(executor):
    from danet_runtime.frames.arrays import page_aligned

    frames, targets = pictures(8), [page_aligned(LABELS) for _ in range(executor.depth)]
    locked = [page_aligned(FRAME) for _ in frames]
    for array, frame in zip(locked, frames, strict=True):
        array[:] = frame
    executor.pin(*locked, *targets)
    assert executor.host_copies == "none"
    check_many(executor, locked, targets)
    executor.unpin(*locked, *targets)
    check_many(executor, locked, targets)


def check_many(executor, frames, targets):
    flying = []
    for number in range(200):
        if len(flying) == executor.depth:
            before, ticket = flying.pop(0)
            times = executor.collect(ticket)
            labels = targets[before % len(targets)]
            np.testing.assert_array_equal(labels, expected(frames[before % 8]))
            assert min(times) > 0
        ticket = executor.submit(frames[number % 8], targets[number % len(targets)])
        flying.append((number, ticket))
    for _, ticket in flying:
        executor.collect(ticket)


def check_guest(executor, make):
    """``make`` gives a guest that its library is still writing."""
    labels = np.empty(LABELS, np.uint8)
    for frame in pictures(6):
        executor.collect(executor.submit(make(frame), labels))
        np.testing.assert_array_equal(labels, expected(frame))


def test_a_tensor_of_torch_on_a_stream_of_its_own(executor):
    def make(frame):
        with torch.cuda.stream(torch.cuda.Stream()):
            source = torch.from_numpy(frame).pin_memory()
            tensor = torch.zeros(FRAME, dtype=torch.uint8, device="cuda")
            torch.cuda._sleep(20_000_000)
            tensor.copy_(source, non_blocking=True)
            labels = np.empty(LABELS, np.uint8)
            ticket = executor.submit(tensor, labels)  # torch's current stream is the one to wait for
        executor.collect(ticket)
        np.testing.assert_array_equal(labels, expected(frame))
        return tensor

    check_guest(executor, make)


def test_an_array_of_cupy_on_a_stream_of_its_own(executor):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")

    def make(frame):
        with cupy.cuda.Stream(non_blocking=True):
            return cupy.asarray(frame) + cupy.uint8(0)

    check_guest(executor, make)


@pytest.fixture(params=["primary", "own"])
def pycuda_context(request):
    """pycuda's context: the device's primary one, or one of its own, as pycuda.autoinit makes it."""
    driver = pytest.importorskip("pycuda.driver", reason="pycuda is not installed")
    driver.init()
    device = driver.Device(0)
    if request.param == "primary":
        context = device.retain_primary_context()
        context.push()
    else:
        context = device.make_context()
    yield context
    context.pop()


def test_an_array_of_pycuda(executor, pycuda_context):
    gpuarray = pytest.importorskip("pycuda.gpuarray", reason="pycuda is not installed")
    check_guest(executor, lambda frame: gpuarray.to_gpu(frame) + np.uint8(0))  # a kernel is under way


def test_labels_go_into_an_array_of_pycuda(executor, pycuda_context):
    gpuarray = pytest.importorskip("pycuda.gpuarray", reason="pycuda is not installed")
    target = gpuarray.zeros(LABELS, np.uint8)
    for frame in pictures(6):
        executor.collect(executor.submit(gpuarray.to_gpu(frame), target))
        np.testing.assert_array_equal(target.get(), expected(frame))


def test_labels_go_into_a_tensor_of_torch_that_is_still_read(executor):
    target = torch.zeros(LABELS, dtype=torch.uint8, device="cuda")
    kept = []
    for frame in pictures(6):
        executor.collect(executor.submit(frame, target))
        torch.cuda._sleep(10_000_000)
        kept.append((target.clone(), frame))
    for labels, frame in kept:
        np.testing.assert_array_equal(labels.cpu().numpy(), expected(frame))


@pytest.mark.parametrize("stream", ["default", "side"])
def test_labels_that_stay_are_read_by_torch_without_a_copy(executor, stream):
    kept = []
    for frame in pictures(6):
        labels = executor.make_labels()
        executor.collect(executor.submit(frame, labels))
        tensor = torch.as_tensor(labels, device="cuda")
        assert tensor.data_ptr() == labels.address
        side = torch.cuda.Stream() if stream == "side" else torch.cuda.default_stream()
        with torch.cuda.stream(side):
            torch.cuda._sleep(10_000_000)
            kept.append((tensor.clone(), side, frame))
        if stream == "side":
            labels.read_by(side.cuda_stream)
        del tensor, labels  # their memory is used again meanwhile
    for copy, side, frame in kept:
        side.synchronize()
        np.testing.assert_array_equal(copy.cpu().numpy(), expected(frame))


def test_frames_that_do_not_fit_are_refused(executor):
    from danet_runtime.errors import FrameError

    for wrong in (
        torch.zeros(FRAME, device="cuda"),
        torch.zeros((1, 3, H, W), dtype=torch.uint8, device="cuda"),
        torch.zeros((1, 3, H, W), dtype=torch.uint8, device="cuda").permute(0, 2, 3, 1),
        torch.zeros(FRAME, dtype=torch.uint8),
    ):
        with pytest.raises(FrameError):
            executor.submit(wrong, np.empty(LABELS, np.uint8))


def test_an_illegal_access_is_a_fault_that_stays_and_close_returns():
    done = subprocess.run(
        [sys.executable, str(HERE / "illegal_access.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "first": "CUDA_ERROR_ILLEGAL_ADDRESS",
        "same_again": True,
        "closed": True,
    }
