"""A deserialised engine: its tensors checked against the bundle, and its enqueues, apart from all copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import BOTH, TensorRTLibrary
from danet_runtime.tensorrt.build.log import first_of, make_log
from danet_runtime.tensorrt.cuda.session import ALIGNMENT
from danet_runtime.tensorrt.plugins.registration import register_for_running
from danet_runtime.tensorrt.store.runtime_cache import RuntimeCache

SERVES: Final = BOTH

Tensors = dict[str, tuple[int, ...]]

_CLOSED: Final = "the engine is closed; open another"


class EngineExecution:
    """One engine with an execution context for each set of addresses; enqueue from one thread at a time.

    The contexts share the memory of the activations, so their enqueues belong into one stream. Addresses are
    set once a context: a new address makes TensorRT prepare every plugin anew at the next enqueue, which may
    load code and is not allowed while a stream is captured (NvInferRuntime.h, ``onShapeChange``; TensorRT for
    RTX, "Optimizing performance": one context for each captured graph).

    A CUDA context must be current in the calling thread, here, in :meth:`bind` and in what it returns.

    Args:
        library: TensorRT, or TensorRT for RTX; the release that built the engine.
        plan: The engine, whose hash has been checked: it is native code.
        origin: Name of the engine in errors.
        inputs: Names and shapes of the inputs that the engine must have; all are uint8.
        outputs: Names and shapes of the outputs, likewise uint8.
        allocate: Returns the address of memory on the GPU, a multiple of 256, for a number of bytes; the
            caller frees it after :meth:`close`.
        compiled: Kernels that TensorRT for RTX compiled before; ``None``: it compiles them all.

    Raises:
        BackendError: The library does not load it, its tensors are others, or there is not enough memory.
    """

    def __init__(
        self,
        library: TensorRTLibrary,
        plan: bytes,
        origin: str,
        *,
        inputs: Tensors,
        outputs: Tensors,
        allocate: Callable[[int], int],
        compiled: RuntimeCache | None = None,
    ) -> None:
        trt = library.module
        self._trt = trt
        self._origin = origin
        self._title = library.title
        self._inputs = inputs
        self._failures: list[str] = []
        if library.flavour == "tensorrt":
            self._failures = register_for_running(trt).failures
        self._log = make_log(trt)
        # engine_host_code_allowed stays off: an engine needs no code of its own on the host.
        runtime = trt.Runtime(self._log)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BackendError(f"{library.title} does not load {origin}: {self._reasons()}")
        self._check_tensors(library, engine, inputs, outputs)
        self._runtime: Any = runtime  # outlives the engine, which outlives the contexts
        self._engine: Any = engine
        self._compiled = compiled
        self._contexts: list[Any] = []
        self._memory: tuple[int, int] | None = None
        if library.shares_activation_memory:
            nbytes = max(int(engine.device_memory_size_v2), ALIGNMENT)
            self._memory = allocate(nbytes), nbytes

    def bind(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Callable[[int], None]:
        """Make a context for one set of addresses.

        Args:
            inputs: Device address of every input, a multiple of 256.
            outputs: Device address of every output, likewise.

        Returns:
            A function that enqueues one inference on the stream, other than the default one, of a handle;
            nothing is copied and nothing waited for. It raises a ``BackendError`` where TensorRT refuses, or
            the engine is closed.

        Raises:
            BackendError: TensorRT makes no context, or does not take a shape or an address.
        """
        context = self._make_context()
        for name, shape in self._inputs.items():
            if not context.set_input_shape(name, shape):
                raise BackendError(f"{self._origin} does not take {name} of shape {shape}: {self._reasons()}")
        for name, address in (*inputs.items(), *outputs.items()):
            if not context.set_tensor_address(name, address):
                raise BackendError(f"{self._title} does not take the address of {name}: {self._reasons()}")
        number = len(self._contexts)
        self._contexts.append(context)

        def enqueue(stream: int) -> None:
            if not self._contexts:
                raise BackendError(_CLOSED)
            context = self._contexts[number]
            if not context.execute_async_v3(stream):
                raise BackendError(f"{self._title} failed in {self._origin}: {self._reasons()}")

        return enqueue

    def close(self) -> None:
        """Free the engine, in TensorRT's order; harmless when called twice."""
        self._contexts.clear()
        self._engine = None
        self._runtime = None

    def _make_context(self) -> Any:  # noqa: ANN401 - an IExecutionContext
        trt, engine = self._trt, self._engine
        if engine is None:
            raise BackendError(_CLOSED)
        strategies = trt.ExecutionContextAllocationStrategy
        strategy = strategies.STATIC if self._memory is None else strategies.USER_MANAGED
        if self._compiled is not None:
            context = self._compiled.make_context(engine, strategy)
        else:
            context = engine.create_execution_context(strategy)
        if context is None:
            raise BackendError(
                f"{self._title} makes no execution context of {self._origin}: {self._reasons()}"
            )
        if self._memory is not None:
            context.set_device_memory(*self._memory)
        return context

    def _check_tensors(
        self,
        library: TensorRTLibrary,
        engine: Any,  # noqa: ANN401 - an ICudaEngine
        inputs: Tensors,
        outputs: Tensors,
    ) -> None:
        trt = library.module
        found = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            is_bytes = engine.get_tensor_dtype(name) == trt.DataType.UINT8
            shape = tuple(int(extent) for extent in engine.get_tensor_shape(name))
            found[name] = ("input" if is_input else "output", "uint8" if is_bytes else "another type", shape)
        expected = {
            **{name: ("input", "uint8", shape) for name, shape in inputs.items()},
            **{name: ("output", "uint8", shape) for name, shape in outputs.items()},
        }
        if found != expected:
            raise BackendError(
                f"{self._origin}: the bundle promises the tensors {expected}, the engine has {found}; "
                "build it again from this bundle"
            )

    def _reasons(self) -> str:
        return first_of([*self._failures, *self._log.errors])
