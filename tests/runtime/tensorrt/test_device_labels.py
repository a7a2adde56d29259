"""Labels that stay on the GPU: in memory of their own, or in an array of the caller's."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest
from executor_parts import LABELS, Guest, empty, expected, make, picture
from simulated_cuda import SimulatedCuda

from danet_runtime.errors import BackendError, FrameError


def seen_at(address):
    memory = (ctypes.c_uint8 * int(np.prod(LABELS))).from_address(address)
    return np.frombuffer(memory, np.uint8).reshape(LABELS)


def test_labels_are_complete_and_stay_as_they_are_while_they_are_held():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    held = []
    for number in range(6):
        labels = executor.make_labels()
        executor.collect(executor.submit(picture(number), labels))
        held.append(labels)
    for number, labels in enumerate(held):
        interface = labels.__cuda_array_interface__
        assert (interface["shape"], interface["typestr"], interface["version"]) == (LABELS, "|u1", 3)
        assert interface["stream"] is None
        np.testing.assert_array_equal(seen_at(interface["data"][0]), expected(picture(number)))
    executor.close()


def test_memory_that_nobody_holds_is_used_again_and_no_more_is_taken():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    cuda.calls.clear()
    for number in range(6):
        labels = executor.make_labels()
        executor.collect(executor.submit(picture(number), labels))
        np.testing.assert_array_equal(seen_at(labels.address), expected(picture(number)))
        del labels
    assert cuda.calls.count("cuMemAlloc") == 1
    executor.close()
    assert not cuda.memory


def test_what_is_held_at_the_end_is_not_freed_and_says_that_it_is_gone():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    labels = executor.make_labels()
    executor.collect(executor.submit(picture(1), labels))
    address = labels.address
    executor.close()
    assert set(cuda.memory) == {address}  # a tensor of torch may still look there
    np.testing.assert_array_equal(seen_at(address), expected(picture(1)))
    with pytest.raises(FrameError, match="these labels are gone"):
        _ = labels.__cuda_array_interface__
    with pytest.raises(FrameError, match="these labels are gone"):
        labels.read_by(1)
    with pytest.raises(BackendError, match="the executor is closed"):
        executor.make_labels()


class Target(Guest):
    """An array of another library for labels, as with CuPy."""


class Packed:
    """A tensor as PyTorch's, for labels."""

    def __init__(self, cuda, array, versioned=True):
        self.array, self.versioned, self.streams = cuda.device_array(array), versioned, []

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream, **newer):
        self.streams.append(stream)
        if newer and not self.versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        return self.array.__dlpack__(**newer)


@pytest.mark.parametrize("shape", [LABELS, LABELS[1:]])
@pytest.mark.parametrize("kind", ["interface", "dlpack", "dlpack before 1.0"])
def test_labels_are_written_into_an_array_of_the_callers(kind, shape):
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    array = np.zeros(shape, np.uint8)
    target = Target(cuda, array) if kind == "interface" else Packed(cuda, array, kind == "dlpack")
    for frame in (picture(3), Guest(cuda, picture(3))):
        array.fill(0)
        times = executor.collect(executor.submit(frame, target))
        np.testing.assert_array_equal(array.reshape(LABELS), expected(picture(3)))
        assert times.download_ms > 0
    executor.close()
    gc.collect()


def test_labels_that_may_not_be_written_or_do_not_fit_are_refused():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)
    frame, array = picture(1), empty()
    inside = Guest(cuda, frame)
    read_only = empty()
    read_only.flags.writeable = False
    refused = {
        "this .*Target is read-only": Target(cuda, array, data=(array.ctypes.data, True)),
        "this .*Packed is read-only": Packed(cuda, read_only),
        r"\(2, 6\), the bundle's own size \(got \|u1 \(1, 2, 6, 3\)": Target(cuda, picture(2)),
        "share memory with the frame": Target(
            cuda, frame.reshape(-1)[: array.size].reshape(LABELS), data=(frame.ctypes.data, False)
        ),
        r"got float32": Packed(cuda, np.zeros(LABELS, np.float32)),
    }
    for complaint, target in refused.items():
        with pytest.raises(FrameError, match=complaint):
            executor.submit(inside, target)
    executor.collect(executor.submit(inside, Target(cuda, array)))
    np.testing.assert_array_equal(array, expected(frame))
    executor.close()


def test_an_array_whose_own_protocol_fails_is_refused_in_its_words():
    cuda = SimulatedCuda()
    executor, _ = make(cuda)

    class Failing(Packed):
        def __dlpack__(self, *, stream, **newer):
            raise BufferError("it requires a gradient")

    class Other(Packed):
        def __dlpack__(self, *, stream, **newer):
            return "no capsule"

    with pytest.raises(FrameError, match=r"Failing refuses: BufferError: it requires a gradient"):
        executor.submit(Failing(cuda, picture(1)), empty())
    with pytest.raises(FrameError, match="Other gave no capsule of a tensor"):
        executor.submit(Other(cuda, picture(1)), empty())
    executor.close()
