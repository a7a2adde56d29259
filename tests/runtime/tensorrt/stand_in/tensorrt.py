"""Stands in for TensorRT where there is no GPU: the same calls, with ONNX Runtime behind them.

It is as strict as TensorRT is, or by its documentation may be. A new address makes a context prepare itself
at the next enqueue, which fails while a stream is captured; an address that is no multiple of 256 is refused;
a context without memory of its own does not run before it was given some, nor on another stream than others
with the same memory. A graph that was captured reads and writes where its context's addresses are when it is
launched, so one context serves one graph.

Its plans hold the ONNX file that was parsed. Every call is recorded in ``CALLS`` and, where the environment
names a file ``TENSORRT_STAND_IN_RECORD``, in that file. That it has no name and no number of arguments that
the real bindings lack is held by ``contract/test_stand_in.py``.
"""

from __future__ import annotations

import ctypes
import enum
import os
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx

try:
    import stand_in_plugins as plugins  # where it is the process's own TensorRT
except ImportError:
    plugins = None

__version__ = os.environ.get("TENSORRT_STAND_IN_VERSION", "10.13.3.9")

CALLS: list[str] = []
MAGIC = b"stand-in plan\n"


def note(text: str) -> None:
    CALLS.append(text)
    if path := os.environ.get("TENSORRT_STAND_IN_RECORD"):
        with open(path, "a") as file:  # noqa: PTH123
            file.write(text + "\n")


_NODE = ctypes.CFUNCTYPE(None)
_nodes: list[object] = []  # kept alive for the graphs that call them


def add_to_graph(stream: int, run: Callable[[], None]) -> bool:
    """Leave the work to a graph's launches where the stub driver is capturing this stream."""
    try:
        add = ctypes.CDLL("libcuda.so.1").driver_stub_add_node
    except (OSError, AttributeError):  # no driver, or a real one
        return False
    node = _NODE(run)
    _nodes.append(node)
    return bool(add(ctypes.c_size_t(stream), node))


def may_load_code() -> bool:
    """False while the stub driver captures a stream, which that spoils."""
    try:
        return bool(ctypes.CDLL("libcuda.so.1").driver_stub_prepare())
    except (OSError, AttributeError):
        return True


ALIGNMENT = 256


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    UINT8 = 7


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class BuilderFlag(enum.Enum):
    TF32 = 7


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ErrorCodeTRT(enum.Enum):
    INVALID_ARGUMENT = 3


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3


class IErrorRecorder:
    pass


class IProgressMonitor:
    pass


class ITimingCache:
    def __init__(self, entries: set[bytes]) -> None:
        self.entries = entries

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.entries |= input_cache.entries
        return True

    def serialize(self) -> bytes:
        return b"timings\n" + b"\n".join(sorted(self.entries))


class ParserError:
    def __init__(
        self, description: str, node_name: str = "", operator: str = "", stack: tuple[str, ...] = ()
    ):
        self._stated = (description, node_name, operator, list(stack))

    def desc(self) -> str:
        return self._stated[0]

    def node_name(self) -> str:
        return self._stated[1]

    def node_operator(self) -> str:
        return self._stated[2]

    def local_function_stack(self) -> list[str]:
        return self._stated[3]


class ProfilingVerbosity(enum.Enum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class IBuilderConfig:
    def __init__(self) -> None:
        self.progress_monitor: object = None
        self.timing_cache: ITimingCache | None = None
        self._level = 3
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        note(f"level {level}")
        self._level = level

    def clear_flag(self, flag: BuilderFlag) -> None:
        note(f"clear {flag.name}")

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        note(f"{pool.name} {pool_size}")

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if serialized_timing_cache and not serialized_timing_cache.startswith(b"timings\n"):
            return None
        return ITimingCache({entry for entry in serialized_timing_cache.split(b"\n")[1:] if entry})

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        note(f"timings {len(cache.entries)}")
        self.timing_cache = cache
        return True


class INetworkDefinition:
    def __init__(self) -> None:
        self.model = b""
        self.num_layers = 0


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self.network = network
        self.problems: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self.problems)

    def get_error(self, index: int) -> ParserError:
        return self.problems[index]

    def parse(self, model: bytes) -> bool:
        graph = onnx.load_from_string(model).graph
        self.problems = [
            ParserError("no such operator", node.name, node.op_type, ("Body",))
            for node in graph.node
            if node.op_type == "Nonsense"
        ]
        self.network.model, self.network.num_layers = model, len(graph.node)
        return not self.problems


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger
        self.error_recorder: object = None

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        note(f"network flags={flags} recorder={self.error_recorder is not None}")
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        note("build")
        if os.environ.get("TENSORRT_STAND_IN_BUILD") == "fails":
            self.error_recorder.report_error(ErrorCodeTRT.INVALID_ARGUMENT, "recorded by the builder")
            return None
        form, model = plugins.built(network.model, DataType.HALF) if plugins else ("unknown", network.model)
        if form in os.environ.get("TENSORRT_STAND_IN_REFUSES", "").split():
            self.error_recorder.report_error(ErrorCodeTRT.INVALID_ARGUMENT, f"no implementation: {form}")
            return None
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            for step in range(2):
                monitor.step_complete("Building", step)
            monitor.phase_finish("Building")
        time.sleep(float(os.environ.get("TENSORRT_STAND_IN_SECONDS", "0")))
        self.logger.log(ILogger.Severity.INFO, "Total Activation Memory: 4096 bytes")
        if config.timing_cache is not None:
            config.timing_cache.entries.add(f"{len(network.model)}".encode())
        return MAGIC + f"{os.environ.get('TENSORRT_STAND_IN_SALT', '')} {form}\n".encode() + model


class ICudaEngine:
    device_memory_size_v2 = 4096

    def __init__(self, model: bytes, logger: ILogger, form: str) -> None:
        import onnxruntime

        self.logger, self.form = logger, form
        self.stream_of: dict[int, int] = {}  # by the memory that contexts share

        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._tensors = {
            **{tensor.name: (TensorIOMode.INPUT, tensor) for tensor in self.session.get_inputs()},
            **{tensor.name: (TensorIOMode.OUTPUT, tensor) for tensor in self.session.get_outputs()},
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._tensors[name][0]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.UINT8 if self._tensors[name][1].type == "tensor(uint8)" else DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name][1].shape)

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext:
        note(f"context {strategy.name}")
        return IExecutionContext(self, strategy == ExecutionContextAllocationStrategy.USER_MANAGED)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine, needs_memory: bool) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self._is_prepared = False
        self._needs_memory = needs_memory
        self._memory: int | None = None

    def set_device_memory(self, memory: int, size: int) -> None:
        note(f"memory {size}")
        if memory % ALIGNMENT or size < self.engine.device_memory_size_v2:
            self._refuse("the device memory is misaligned, or too small")  # and says nothing to the caller
        else:
            self._memory = memory

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        note(f"shape {name} {'x'.join(map(str, shape))}")
        return tuple(shape) == self.engine.get_tensor_shape(name)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        note(f"address {name}")
        if memory % ALIGNMENT or not memory:
            return self._refuse(f"the address of {name} is no multiple of {ALIGNMENT}")
        self.addresses[name] = memory
        self._is_prepared = False
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        note(f"execute stream={stream_handle}")
        if self._needs_memory and self._memory is None:
            return self._refuse("the context has no device memory")
        if self._memory is not None:
            first = self.engine.stream_of.setdefault(self._memory, stream_handle)
            if first != stream_handle:
                return self._refuse("contexts that share their memory are enqueued on two streams")
        if not self._is_prepared:
            note("prepare")  # onShapeChange of every plugin
            if not may_load_code():
                return self._refuse("code is loaded while a stream is captured")
            self._is_prepared = True
        if not add_to_graph(stream_handle, self._run):
            self._run()
        return True

    def _refuse(self, reason: str) -> bool:
        self.engine.logger.log(ILogger.Severity.ERROR, reason)
        return False

    def _run(self) -> None:
        addresses = self.addresses
        shape = self.engine.get_tensor_shape("frame")
        frame = np.frombuffer(ctypes.string_at(addresses["frame"], int(np.prod(shape))), np.uint8)
        (labels,) = self.engine.session.run(None, {"frame": frame.reshape(shape)})
        if os.environ.get("TENSORRT_STAND_IN_LABELS", "") in ("wrong", f"wrong of {self.engine.form}"):
            labels = labels + 1
        ctypes.memmove(addresses["labels"], labels.tobytes(), labels.size)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        note("runtime")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        note("deserialize")
        if not serialized_engine.startswith(MAGIC):
            self._logger.log(ILogger.Severity.ERROR, "the magic tag does not match")
            return None
        header, model = serialized_engine.removeprefix(MAGIC).split(b"\n", 1)
        return ICudaEngine(model, self._logger, header.decode().split(" ")[1])


if plugins is not None:
    plugins.install(sys.modules[__name__])
