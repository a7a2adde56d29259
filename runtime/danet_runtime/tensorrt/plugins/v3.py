"""The operators as Python plugins for TensorRT 10.0 to 10.8 (JetPack 6): ``IPluginV3`` over the bundle's PTX.

These releases cannot put a kernel into an engine, so Python launches it at run time. The engine carries what
that takes: the plugin serialises its attributes, its kernel's entry in the manifest, and the PTX itself. The
process that runs the engine registers the creators (without a bundle) and needs cuda-python, nothing else,
and the engine's own hash covers the kernels.

Under NumPy 2 the bindings of these releases read every plugin field wrong: they were compiled for NumPy 1,
and return an array's first element over and over. A single number survives, so attributes are read correctly
and everything else would be nonsense; :func:`require_readable_fields` refuses that before anything is built.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from danet_runtime.bundle.manifest import Kernel
from danet_runtime.bundle.operators import (
    NAMESPACE,
    OPERATORS,
    PLUGIN_VERSION,
    InputExtent,
    Operator,
    OperatorSpec,
    output_shape,
)
from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import sha256_of
from danet_runtime.tensorrt.build.library import Serves
from danet_runtime.tensorrt.cuda.driver import LaunchableKernel, cuda_driver
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel
from danet_runtime.tensorrt.kernels.shape_check import check_shapes, noting_refusals

SERVES: Final = Serves("tensorrt", since=(10, 0), before=(10, 9))

_KERNEL_FIELD: Final = "danet_kernel"
_PTX_FIELD: Final = "danet_ptx"
_DIGEST_FIELD: Final = "danet_digest"


@dataclass(frozen=True)
class PluginState:
    """State of a plugin besides TensorRT's own part of it; clones share it.

    Attributes:
        spec: The operator.
        attributes: The node's integer attributes.
        loaded: The kernel that runs it.
        failures: List that receives the reason of a refusal, since TensorRT prints it and raises its own.
    """

    spec: OperatorSpec
    attributes: Mapping[str, int]
    loaded: LoadedKernel
    failures: list[str] = field(compare=False)

    def check(self, shapes: Sequence[Sequence[int]], output: Sequence[int]) -> None:
        """Refuse shapes that the kernel is not compiled for."""
        check_shapes(self.loaded.kernel, shapes, self.attributes)
        expected = output_shape(self.spec, shapes, self.attributes)
        if tuple(output) != expected:
            raise BackendError(
                f"{self.spec.name} expects an output of {expected} (got {tuple(output)}); "
                "this is a defect of danet: please report it"
            )


def state_from_fields(fields: Iterable[Any], spec: OperatorSpec, failures: list[str]) -> PluginState:
    """Restore a plugin's state from the fields that an engine holds for it.

    Args:
        fields: ``tensorrt.PluginField`` objects.
        spec: The operator.
        failures: List for the ``failures`` of the state.

    Raises:
        BackendError: A field is missing, or damaged, or read wrong by the bindings.
    """
    found = {field.name: np.asarray(field.data) for field in fields}
    missing = {*spec.attributes, _KERNEL_FIELD, _PTX_FIELD, _DIGEST_FIELD} - set(found)
    if missing:
        raise BackendError(
            f"expected an engine that carries {spec.name}'s kernel, it lacks {', '.join(sorted(missing))}; "
            "build the engine again with this version of danet"
        )
    text, ptx = found[_KERNEL_FIELD].tobytes(), found[_PTX_FIELD].tobytes()
    if int(found[_DIGEST_FIELD].reshape(-1)[0]) != _digest(text, ptx):
        raise BackendError(
            f"the kernel of {spec.name} in the engine is damaged, or NumPy {np.__version__} does not suit "
            "these bindings of TensorRT; build the engine again, with numpy<2 on TensorRT before 10.9"
        )
    try:
        kernel = Kernel.model_validate_json(text)
    except ValidationError as error:
        raise BackendError(
            f"the kernel of {spec.name} in the engine is described as this version of danet does not know; "
            "build the engine again"
        ) from error
    if kernel.operator != spec.name:
        raise BackendError(
            f"expected a kernel of {spec.name} in the engine, got one of {kernel.operator}; "
            "build the engine again"
        )
    attributes = {name: int(found[name].reshape(-1)[0]) for name in spec.attributes}
    return PluginState(spec, attributes, LoadedKernel(kernel, ptx), failures)


def require_readable_fields(trt: ModuleType) -> None:
    """Refuse bindings that return wrong plugin fields under the installed NumPy.

    Raises:
        BackendError: They do.
    """
    probe = trt.PluginField("probe", np.array([1, 2], np.int32), trt.PluginFieldType.INT32)
    if np.asarray(probe.data).tolist() != [1, 2]:
        raise BackendError(
            f"TensorRT {trt.__version__} reads plugin fields wrong under NumPy {np.__version__}, since its "
            'bindings are compiled for NumPy 1; run `pip install "numpy<2"` in the runtime\'s environment'
        )


@functools.cache
def plugin_classes(trt: ModuleType) -> tuple[type, type]:
    """The plugin's class and its creator's, which derive from classes of TensorRT's module."""

    class KernelPlugin(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):  # type: ignore[misc, name-defined]
        """One node of the network; TensorRT clones it for each execution context."""

        def __init__(self, state: PluginState) -> None:
            trt.IPluginV3.__init__(self)
            trt.IPluginV3OneCore.__init__(self)
            trt.IPluginV3OneBuild.__init__(self)
            trt.IPluginV3OneRuntime.__init__(self)
            # The bindings of 10.3 free each base as if it were an allocation of its own, and abort
            # ("free(): invalid pointer"): no plugin may ever be deallocated. TensorRT makes a few a node.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
            self.plugin_name = state.spec.name
            self.plugin_namespace = NAMESPACE
            self.plugin_version = PLUGIN_VERSION
            self.num_outputs = 1
            self._state = state
            self._launchable: LaunchableKernel | None = None
            self._serialised: Any = None

        def get_capability_interface(self, _type: Any) -> Any:  # noqa: ANN401
            return self

        def clone(self) -> Any:  # noqa: ANN401
            return KernelPlugin(self._state)

        def get_output_data_types(self, input_types: list[Any]) -> list[Any]:
            return [trt.DataType.FLOAT if self._state.spec.output_type == "fp32" else input_types[0]]

        def get_output_shapes(
            self,
            inputs: list[Any],
            _shape_inputs: list[Any],
            expr_builder: Any,  # noqa: ANN401
        ) -> list[Any]:
            state = self._state
            dims = trt.DimsExprs(len(state.spec.output))
            for axis, extent in enumerate(state.spec.output):
                if isinstance(extent, InputExtent):
                    dims[axis] = inputs[extent.input][extent.axis]
                else:
                    dims[axis] = expr_builder.constant(state.attributes[extent.attribute])
            return [dims]

        def supports_format_combination(self, pos: int, in_out: list[Any], num_inputs: int) -> bool:
            tensor_desc = in_out[pos].desc
            if pos >= num_inputs and self._state.spec.output_type == "fp32":
                expected = trt.DataType.FLOAT
            else:
                half = self._state.loaded.kernel.dtype == "fp16"
                expected = trt.DataType.HALF if half else trt.DataType.BF16
            return bool(tensor_desc.format == trt.TensorFormat.LINEAR and tensor_desc.type == expected)

        def configure_plugin(self, inputs: list[Any], outputs: list[Any]) -> None:
            with noting_refusals(self._state.failures):
                self._state.check([tuple(i.desc.dims) for i in inputs], tuple(outputs[0].desc.dims))

        def on_shape_change(self, inputs: list[Any], outputs: list[Any]) -> None:
            with noting_refusals(self._state.failures):
                self._state.check([tuple(i.dims) for i in inputs], tuple(outputs[0].dims))
                self._launchable = cuda_driver().load(self._state.loaded)

        def enqueue(
            self,
            _input_desc: list[Any],
            _output_desc: list[Any],
            inputs: list[int],
            outputs: list[int],
            _workspace: int,
            stream: int,
        ) -> None:
            with noting_refusals(self._state.failures):
                if self._launchable is None:
                    raise BackendError(
                        f"{self._state.spec.name} was enqueued before it was told its shapes; "
                        "this is a defect of danet: please report it"
                    )
                cuda_driver().launch(self._launchable, stream, [*inputs, *outputs])

        def attach_to_context(self, _resource_context: Any) -> Any:  # noqa: ANN401
            return self.clone()

        def set_tactic(self, _tactic: int) -> None:
            """There is one tactic: the kernel's tiles were chosen when the bundle was made."""

        def get_fields_to_serialize(self) -> Any:  # noqa: ANN401
            # A collection holds bare pointers into what its fields point to; TensorRT reads them after this
            # returns, so collection and fields live as long as the plugin.
            fields = _fields(trt, self._state)
            self._serialised = trt.PluginFieldCollection(fields), fields
            return self._serialised[0]

    class KernelPluginCreator(trt.IPluginCreatorV3One):  # type: ignore[misc, name-defined]
        """Makes plugins from nodes, with the bundle's kernel, and from an engine, with the engine's."""

        def __init__(self, spec: OperatorSpec) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name = spec.name
            self.plugin_namespace = NAMESPACE
            self.plugin_version = PLUGIN_VERSION
            self._declared = [
                trt.PluginField(name, np.array([]), trt.PluginFieldType.INT64) for name in spec.attributes
            ]
            self.field_names = trt.PluginFieldCollection(self._declared)
            self.loaded: LoadedKernel | None = None
            self.failures: list[str] = []
            self._spec = spec

        def create_plugin(self, _name: str, field_collection: Any, phase: Any) -> Any:  # noqa: ANN401
            with noting_refusals(self.failures):
                if phase == trt.TensorRTPhase.RUNTIME:
                    return KernelPlugin(state_from_fields(field_collection, self._spec, self.failures))
                return KernelPlugin(self._state_of_node(field_collection))

        def _state_of_node(self, fields: Iterable[Any]) -> PluginState:
            if self.loaded is None:
                raise BackendError(
                    f"{self._spec.name} has no kernel to build with; call register_plugins first"
                )
            attributes = {
                field.name: int(np.asarray(field.data).reshape(-1)[0])
                for field in fields
                if field.name in self._spec.attributes
            }
            return PluginState(self._spec, attributes, self.loaded, self.failures)

    return KernelPlugin, KernelPluginCreator


_creators: dict[tuple[ModuleType, Operator], Any] = {}


def register_v3(trt: ModuleType, kernels: Mapping[Operator, LoadedKernel]) -> list[str]:
    """Register the creators with TensorRT.

    A later call exchanges the kernels, so a process builds engines of one bundle at a time. Engines that are
    only run need no kernels here: they carry their own.

    Args:
        trt: TensorRT's module.
        kernels: Result of :func:`danet_runtime.tensorrt.kernels.kernels.select_kernels`; empty to run engines
            only.

    Returns:
        A list that the reasons of refusals are appended to while an engine is built or run.

    Raises:
        BackendError: The bindings do not suit the installed NumPy, or another plugin of these names is there.
    """
    require_readable_fields(trt)
    failures: list[str] = []
    for name, spec in OPERATORS.items():
        creator = _creators.get((trt, name))
        if creator is None:
            creator = plugin_classes(trt)[1](spec)
            registry = trt.get_plugin_registry()
            if not registry.register_creator(creator, NAMESPACE):
                raise BackendError(
                    f"TensorRT has a plugin {NAMESPACE}::{name} already; take it out of the process"
                )
            _creators[trt, name] = creator  # TensorRT keeps no reference
        creator.loaded = kernels.get(name)
        creator.failures = failures
    return failures


def has_registered(trt: ModuleType) -> bool:
    """Whether this process has registered an operator with TensorRT's module."""
    return any(module is trt for module, _ in _creators)


def _fields(trt: ModuleType, state: PluginState) -> list[Any]:
    text, ptx = state.loaded.kernel.model_dump_json().encode(), state.loaded.ptx
    numbers = {**state.attributes, _DIGEST_FIELD: _digest(text, ptx)}
    types = trt.PluginFieldType
    return [
        *(trt.PluginField(name, np.array([value], np.int64), types.INT64) for name, value in numbers.items()),
        trt.PluginField(_KERNEL_FIELD, np.frombuffer(text, np.int8), types.CHAR),
        trt.PluginField(_PTX_FIELD, np.frombuffer(ptx, np.int8), types.CHAR),
    ]


def _digest(text: bytes, ptx: bytes) -> int:
    """A fingerprint that fits one number, the only kind of field that no bindings read wrong."""
    return int(sha256_of(text + b"\x00" + ptx)[:15], 16)
