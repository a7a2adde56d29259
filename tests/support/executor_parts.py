"""An executor over the simulated driver, with a model whose labels are known."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
from cuda_objects import PRIMARY
from simulated_cuda import SimulatedCuda

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.cuda.driver import CudaDriver
from danet_runtime.tensorrt.cuda.executor import Executor
from danet_runtime.tensorrt.cuda.session import ALIGNMENT, CudaSession

H, W = 2, 6
FRAME, LABELS = (1, H, W, 3), (1, H, W)
UPLOAD, DOWNLOAD, COMPUTE, HOST = 11, 12, 13, 0  # streams in the order of their making


class Model:
    """Labels are the sum of a pixel's bytes; two kernels, the first into its own scratch memory."""

    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda = cuda
        self.scratch = np.zeros(LABELS, np.uint8)
        self.released = 0
        self.error: Exception | None = None
        self.calls = 0

    def bind(self, inputs: dict[str, int], outputs: dict[str, int]) -> Callable[[int], None]:
        assert all(address % ALIGNMENT == 0 for address in (*inputs.values(), *outputs.values()))
        return partial(self, inputs=inputs, outputs=outputs)

    def __call__(self, stream: int, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.cuda.enqueue(stream, partial(self.sum_up, inputs["frame"]))
        self.cuda.enqueue(stream, partial(self.write, outputs["labels"]))

    def sum_up(self, address: int) -> None:
        assert self.cuda.context_of[address] == PRIMARY, "an illegal address"
        assert address % ALIGNMENT == 0, "TensorRT would refuse it"
        frame = np.ctypeslib.as_array((ctypes.c_uint8 * int(np.prod(FRAME))).from_address(address))
        self.scratch[:] = frame.reshape(FRAME).sum(-1, dtype=np.uint8)

    def write(self, address: int) -> None:
        ctypes.memmove(address, self.scratch.ctypes.data, self.scratch.nbytes)

    def release(self) -> None:
        self.released += 1


def make(cuda: SimulatedCuda, **options: Any) -> tuple[Executor, Model]:
    model = Model(cuda)
    session = CudaSession(CudaDriver(cast("Any", cuda)))  # an object in a module's place
    return Executor(session, model.bind, FRAME, LABELS, release=model.release, **options), model


def picture(number: int) -> UInt8Array:
    return np.random.default_rng(number).integers(0, 256, FRAME, np.uint8)


def expected(frame: UInt8Array) -> UInt8Array:
    labels: UInt8Array = frame.sum(-1, dtype=np.uint8)
    return labels


def empty() -> UInt8Array:
    return np.empty(LABELS, np.uint8)


class Guest:
    """An array of another library, on the simulated device."""

    def __init__(
        self,
        cuda: SimulatedCuda,
        array: UInt8Array,
        stream: int | None = None,
        version: int = 3,
        context: int = PRIMARY,
        **changes: Any,
    ) -> None:
        self.array = cuda.device_array(array, context)
        fields = {
            **{"shape": array.shape, "typestr": "|u1", "data": (array.ctypes.data, False)},
            **{"strides": None, "version": version, "stream": stream},
        }
        self.__cuda_array_interface__ = {**fields, **changes}


class GPUArray(Guest):
    """As pycuda's: by its interface nothing is under way, whatever its default stream still has to do."""

    __module__ = "pycuda.gpuarray"


def fill_later(cuda: SimulatedCuda, stream: int, array: UInt8Array, content: UInt8Array | int) -> None:
    """A kernel of another library that has not run yet."""
    array.fill(0)
    cuda.enqueue(stream, lambda: np.copyto(array, content))


class ExecutorBackend:
    """An executor in the loop."""

    name = "executor"

    def __init__(self, cuda: SimulatedCuda, shape: tuple[int, ...]) -> None:
        self.cuda, self.depth, self.count = cuda, 2, int(np.prod(shape))
        session = CudaSession(CudaDriver(cast("Any", cuda)))
        self.executor = Executor(session, self.bind, (*shape, 3), shape, depth=2)
        self.submit, self.collect = self.executor.submit, self.executor.collect
        self.pin, self.unpin = self.executor.pin, self.executor.unpin
        self.make_labels = self.executor.make_labels
        self.close = self.executor.close

    def bind(self, inputs: dict[str, int], outputs: dict[str, int]) -> Callable[[int], None]:
        """Labels are the frame's first channel."""

        def run() -> None:
            frame = (ctypes.c_uint8 * (3 * self.count)).from_address(inputs["frame"])
            ctypes.memmove(outputs["labels"], bytes(frame[::3]), self.count)

        return lambda stream: self.cuda.enqueue(stream, run)

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        self.collect(self.submit(frame, labels))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}
