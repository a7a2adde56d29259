"""A deserialised engine: its tensors checked against the bundle, and its enqueue, apart from all copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import BOTH, TensorRTLibrary
from danet_runtime.tensorrt.build.log import first_of, make_log
from danet_runtime.tensorrt.plugins.registration import register_for_running

SERVES: Final = BOTH

Tensors = dict[str, tuple[int, ...]]


class EngineExecution:
    """One engine with one execution context; enqueue from one thread at a time.

    A CUDA context must be current in the calling thread, here and in :meth:`enqueue`.

    Args:
        library: TensorRT, or TensorRT for RTX; the release that built the engine.
        plan: The engine, whose hash has been checked: it is native code.
        origin: Name of the engine in errors.
        inputs: Names and shapes of the inputs that the engine must have; all are uint8.
        outputs: Names and shapes of the outputs, likewise uint8.

    Raises:
        BackendError: The library does not load it, or its tensors are others.
    """

    def __init__(
        self, library: TensorRTLibrary, plan: bytes, origin: str, *, inputs: Tensors, outputs: Tensors
    ) -> None:
        trt = library.module
        self._origin = origin
        self._title = library.title
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
        context = engine.create_execution_context()
        if context is None:
            raise BackendError(f"{library.title} makes no execution context of {origin}: {self._reasons()}")
        self._runtime: Any = runtime  # outlives the engine, which outlives the context
        self._engine: Any = engine
        self._context: Any = context
        for name, shape in inputs.items():
            if not context.set_input_shape(name, shape):
                raise BackendError(f"{origin} does not take {name} of shape {shape}: {self._reasons()}")

    def enqueue(self, stream: int, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Enqueue one inference; nothing is copied and nothing waited for.

        Args:
            stream: Handle of a CUDA stream other than the default one.
            inputs: Device address of every input.
            outputs: Device address of every output.

        Raises:
            BackendError: TensorRT refuses, or the engine is closed.
        """
        context = self._context
        if context is None:
            raise BackendError("the engine is closed; open another")
        for name, address in (*inputs.items(), *outputs.items()):
            if not context.set_tensor_address(name, address):
                raise BackendError(f"{self._title} does not take the address of {name}: {self._reasons()}")
        if not context.execute_async_v3(stream):
            raise BackendError(f"{self._title} failed in {self._origin}: {self._reasons()}")

    def close(self) -> None:
        """Free the engine, in TensorRT's order; harmless when called twice."""
        self._context = None
        self._engine = None
        self._runtime = None

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
