"""A CUDA driver that runs what was enqueued late and in the worst order that its streams and events allow.

While a stream is captured it neither allocates nor loads code: that fails, and spoils the capture.

Stands for the module ``cuda.bindings.driver``. Each stream is a queue; the head of a queue may run when it is
no wait for an event that has not happened. Which of the heads runs, and when, comes from a seed: a program
that lacks an order gets a wrong result under some seed. Device memory is host memory, filled with noise.

Contexts are numbers. Memory, streams and events belong to the one that is current when they are made, and
each has a default stream of its own; only copies between contexts may touch the memory of two.
"""

# The names are the driver's own.
# ruff: noqa: N802, N815

from __future__ import annotations

import ctypes
import random
import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda_objects import PRIMARY, CUresult, Event, Graph, Operation

OK = (CUresult.CUDA_SUCCESS,)
LEGACY = 1


class SimulatedCuda:
    """The driver's functions that a session and an executor call.

    Args:
        seed: Seed of the order.
        ignore: Called with the number of the waiting stream and of the stream that recorded the event;
            true: the wait is left out, as if nobody had asked for it.
        eager: How willingly work is done before anybody waits for it, 0 to 1.
    """

    CUresult = CUresult
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_BLOCKING_SYNC=1, CU_EVENT_DISABLE_TIMING=2)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    CUpointer_attribute = SimpleNamespace(
        CU_POINTER_ATTRIBUTE_CONTEXT=1, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL=9
    )
    CUdevice_attribute = SimpleNamespace(CU_DEVICE_ATTRIBUTE_INTEGRATED=18)
    CU_MEMHOSTALLOC_DEVICEMAP = 2

    def __init__(
        self,
        seed: int = 0,
        ignore: Callable[[int, int], bool] = lambda waiting, recording: False,
        eager: float = 0.5,
    ) -> None:
        self.lock = threading.RLock()  # two threads may submit and collect
        self.random = random.Random(seed)
        self.ignore = ignore
        self.eager = eager
        self.speeds = [self.random.choice((1.0, 0.1, 0.001)) for _ in range(7)]  # some streams are starved
        self.queues: dict[int, deque[Operation]] = {LEGACY: deque()}
        self.context_of_stream = {LEGACY: PRIMARY}
        self.stacks: dict[int, list[int]] = {}  # of contexts, by thread
        self.context_of: dict[int, int] = {}  # of memory, where it is not the primary one
        self.events: dict[int, Event] = {}
        self.recorded_on: dict[int, int] = {}
        self.graphs: dict[int, Graph] = {}
        self.capturing: tuple[int, Graph] | None = None
        self.refuse_capture = False
        self.memory: dict[int, Any] = {}
        self.registered: dict[int, int] = {}
        self.on_device: set[int] = set()
        self.mapped: set[int] = set()
        self.calls: list[str] = []
        self.now = 0
        self.lost: CUresult | None = None
        self.hung = False
        self.refuse: dict[str, CUresult] = {}
        self.most_memory = 10**9
        self.integrated = False  # no memory of its own, but the host's
        self.invalidated = False  # a capture in whose midst something was done that is not allowed there
        self.takes_pageable = False  # memory of the host that is not locked: a copy from it waits

    # What a test does.

    def new_stream(self, context: int = PRIMARY) -> int:
        """A stream of somebody else's."""
        number = len(self.queues) + 10
        self.queues[number] = deque()
        self.context_of_stream[number] = context
        return number

    def device_array(self, array: np.ndarray, context: int = PRIMARY) -> np.ndarray:
        """Make an array known as memory of the device."""
        self.on_device.add(array.ctypes.data)
        self.context_of[array.ctypes.data] = context
        return array

    @property
    def stack(self) -> list[int]:
        """The calling thread's contexts, the current one last."""
        return self.stacks.setdefault(threading.get_ident(), [])

    @property
    def top(self) -> int:
        """The calling thread's current context; 0: it has none."""
        return self.stack[-1] if self.stack else 0

    def default_stream(self, context: int) -> int:
        """Number of a context's default stream."""
        number = LEGACY if context == PRIMARY else 1000 + context
        self.queues.setdefault(number, deque())
        self.context_of_stream[number] = context
        return number

    def resolved(self, stream: int) -> int:
        return self.default_stream(self.top or PRIMARY) if stream == LEGACY else stream

    def enqueue(self, stream: int, run: Callable[[], object]) -> None:
        """What a kernel launch does."""
        stream = self.resolved(stream)
        if self.capturing is not None and self.capturing[0] == stream:
            self.capturing[1].runs.append(run)
        else:
            self.queues[stream].append(Operation(run))

    def drain(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        """Run one operation that may run; whether there was one."""
        heads = [number for number, queue in self.queues.items() if queue and queue[0].ready()]
        if not heads or self.hung:
            return False
        self.now += 1
        weights = [self.speeds[number % len(self.speeds)] for number in heads]
        self.queues[self.random.choices(heads, weights)[0]].popleft().run()
        return True

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not name.startswith("cu") or name == "cuGetErrorName":
            return found

        def called(*arguments: Any) -> Any:
            with self.lock:
                self.calls.append(name)
                while self.random.random() < self.eager and self.step():
                    pass
                if self.lost is not None:
                    return (self.lost,)
                if name in self.refuse:
                    return (self.refuse[name],)
                return found(*arguments)

        return called

    # The driver.

    def cuInit(self, _flags: int) -> Any:
        return OK

    def cuGetErrorName(self, error: int) -> Any:
        return (*OK, CUresult(error).name.encode())

    def cuDeviceGet(self, ordinal: int) -> Any:
        return (*OK, ordinal)

    def cuDeviceGetAttribute(self, attribute: int, _device: int) -> Any:
        assert attribute == 18
        return (*OK, int(self.integrated))

    def cuDevicePrimaryCtxRetain(self, _device: int) -> Any:
        return (*OK, PRIMARY)

    def cuDevicePrimaryCtxRelease(self, _device: int) -> Any:
        return OK

    def cuCtxPushCurrent(self, context: int) -> Any:
        self.stack.append(context)
        return OK

    def cuCtxPopCurrent(self) -> Any:
        return (*OK, self.stack.pop())

    def cuCtxGetCurrent(self) -> Any:
        return (*OK, self.top)

    def cuStreamCreate(self, _flags: int) -> Any:
        return (*OK, self.new_stream(self.top))

    def cuStreamDestroy(self, _stream: int) -> Any:
        return OK

    def cuStreamQuery(self, stream: int) -> Any:
        if self.hung:
            return (CUresult.CUDA_ERROR_NOT_READY,)
        self.drain()
        return (CUresult.CUDA_ERROR_NOT_READY,) if self.queues[stream] else OK

    def cuStreamSynchronize(self, stream: int) -> Any:
        stream = self.resolved(stream)
        assert self.context_of_stream[stream] == self.top
        return self._wait(lambda: not self.queues[stream])

    def cuEventCreate(self, _flags: int) -> Any:
        self.events[len(self.events) + 1000] = Event(context=self.top)
        return (*OK, len(self.events) + 999)

    def cuEventDestroy(self, _event: int) -> Any:
        return OK

    def cuEventRecord(self, event: int, stream: int) -> Any:
        stream = self.resolved(stream)
        one = self.events[event]
        if stream not in self.queues or one.context != self.context_of_stream[stream]:
            return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
        one.recorded += 1
        self.recorded_on[event] = stream
        number = one.recorded

        def reach() -> None:
            one.reached, one.at = number, self.now

        self.queues[stream].append(Operation(reach))
        return OK

    def cuStreamWaitEvent(self, stream: int, event: int, _flags: int) -> Any:
        one = self.events[event]
        wanted = one.recorded
        if not self.ignore(stream, self.recorded_on[event]):
            self.queues[stream].append(Operation(lambda: None, lambda: one.reached >= wanted))
        return OK

    def cuEventSynchronize(self, event: int) -> Any:
        one = self.events[event]
        if self.ignore(0, self.recorded_on[event]):
            return OK
        wanted = one.recorded
        return self._wait(lambda: one.reached >= wanted)

    def cuEventElapsedTime(self, began: int, ended: int) -> Any:
        return (*OK, float(self.events[ended].at - self.events[began].at))

    def cuMemHostAlloc(self, nbytes: int, flags: int) -> Any:
        made = self._unless_captured(lambda: self._allocate(nbytes))
        if flags == self.CU_MEMHOSTALLOC_DEVICEMAP:
            self.mapped.add(made[1])
        return made

    def cuMemHostGetDevicePointer(self, address: int, _flags: int) -> Any:
        if address not in self.mapped:
            return (CUresult.CUDA_ERROR_INVALID_VALUE, 0)
        return (*OK, self._known(address))

    def cuModuleLoadDataEx(self, *_: Any) -> Any:
        return self._unless_captured(lambda: 1)

    def cuMemAlloc(self, nbytes: int) -> Any:
        if nbytes > self.most_memory:
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, 0)
        return self._unless_captured(lambda: self._known(self._allocate(nbytes)))

    def cuMemFree(self, address: int) -> Any:
        del self.memory[address]
        return OK

    cuMemFreeHost = cuMemFree

    def cuMemHostRegister(self, address: int, nbytes: int, _flags: int) -> Any:
        assert address not in self.registered
        assert address % 4096 == 0, "pages of somebody else would be locked too"
        self.registered[address] = nbytes
        return OK

    def cuMemHostUnregister(self, address: int) -> Any:
        self.drain()
        del self.registered[address]
        return OK

    def cuMemsetD8Async(self, address: int, value: int, nbytes: int, stream: int) -> Any:
        self.enqueue(stream, lambda: ctypes.memset(address, value, nbytes))
        return OK

    def _copy(self, to: int, source: int, nbytes: int, stream: int) -> Any:
        assert {self.context_of.get(address, self.top) for address in (to, source)} == {self.top}
        return self._move(to, source, nbytes, stream)

    def _move(self, to: int, source: int, nbytes: int, stream: int) -> Any:
        for address in (to, source):  # from memory that is not locked a copy would wait
            assert address in self.memory or address in self.on_device or address in self.registered
        half = nbytes // 2  # a copy takes time: what it reads may change in its midst
        self.enqueue(stream, lambda: ctypes.memmove(to, source, half))
        self.enqueue(stream, lambda: ctypes.memmove(to + half, source + half, nbytes - half))
        return OK

    cuMemcpyHtoDAsync = cuMemcpyDtoDAsync = cuMemcpyAsync = _copy

    def cuMemcpyDtoHAsync(self, to: int, source: int, nbytes: int, stream: int) -> Any:
        if self.takes_pageable and to not in self.memory and to not in self.registered:
            self.cuStreamSynchronize(stream)
            ctypes.memmove(to, source, nbytes)
            return OK
        return self._copy(to, source, nbytes, stream)

    def cuMemcpyPeerAsync(
        self, to: int, to_context: int, source: int, context: int, nbytes: int, stream: int
    ) -> Any:
        assert (self.context_of[to], self.context_of[source]) == (to_context, context)
        assert self.context_of_stream[stream] == self.top
        return self._move(to, source, nbytes, stream)

    def cuMemcpyDtoH(self, to: int, source: int, nbytes: int) -> Any:
        self.cuStreamSynchronize(LEGACY)
        assert self.context_of[source] == self.top
        ctypes.memmove(to, source, nbytes)
        return OK

    def cuPointerGetAttribute(self, attribute: int, address: int) -> Any:
        if address not in self.on_device:
            return (CUresult.CUDA_ERROR_INVALID_VALUE, 0)
        return (*OK, self.context_of[address] if attribute == 1 else 0)

    def cuStreamBeginCapture(self, stream: int, _mode: int) -> Any:
        assert not self.queues[stream], "work is under way on the stream that is captured"
        self.capturing, self.invalidated = (stream, Graph()), False
        return OK

    def cuStreamEndCapture(self, stream: int) -> Any:
        assert self.capturing is not None
        assert self.capturing[0] == stream
        graph, self.capturing = self.capturing[1], None
        if self.refuse_capture or self.invalidated:
            return (CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 0)
        self.graphs[len(self.graphs) + 1] = graph
        return (*OK, len(self.graphs))

    def cuGraphGetNodes(self, graph: int, _most: int) -> Any:
        return (*OK, [], len(self.graphs[graph].runs))

    def cuGraphInstantiate(self, graph: int, _flags: int) -> Any:
        return (*OK, graph)

    def cuGraphDestroy(self, _graph: int) -> Any:
        return OK

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, graph: int, stream: int) -> Any:
        for run in self.graphs[graph].runs:
            self.queues[stream].append(Operation(run))
        return OK

    def _unless_captured(self, run: Callable[[], int]) -> Any:
        """Do what a capture does not allow; where there is one, it fails and is spoilt."""
        if self.capturing is None:
            return (*OK, run())
        self.invalidated = True
        return (CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 0)

    def _known(self, address: int) -> int:
        """Make an address known as one of the current context's device."""
        self.on_device.add(address)
        self.context_of[address] = self.top
        return address

    def _allocate(self, nbytes: int) -> int:
        around = np.frombuffer(self.random.randbytes(nbytes + 256), np.uint8).copy()
        address = around.ctypes.data + -around.ctypes.data % 256
        self.memory[address] = around
        return int(address)

    def _wait(self, holds: Callable[[], bool]) -> Any:
        while not holds():
            if not self.step():
                raise RuntimeError("everything waits: the streams are deadlocked")
        return OK
