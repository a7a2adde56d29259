"""The operators as ahead-of-time plugins: TensorRT 10.9 and later puts the kernel itself into the engine.

The engine then runs without Python, without this package and without the bundle, and can be captured in a
CUDA graph. TensorRT asks for the kernel and its launch parameters while it builds, and for nothing later.

What ``tensorrt.plugin`` demands of the two functions of an operator (its validators say so, the documentation
only in part): the signature is (inputs, attributes, outputs, tactic) with an annotation each, every attribute
is declared, the kernel's parameters are the inputs' pointers, integers (here none) and the outputs' pointers.
The annotations must be types and not text, so signatures are made here from the table of operators.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

import numpy as np

from danet_runtime.bundle.operators import (
    NAMESPACE,
    OPERATORS,
    InputExtent,
    Operator,
    OperatorSpec,
)
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import Serves
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel
from danet_runtime.tensorrt.kernels.shape_check import check_shapes, noting_refusals

SERVES: Final = Serves("tensorrt", since=(10, 9))

# An attribute is annotated as an array of one number. With ``int``, releases before 11.4 convert the array
# that they hold by int(array), which NumPy 2.4 and later refuse for an array of one dimension.
_ATTRIBUTE: Final = np.ndarray[tuple[int], np.dtype[np.int64]]

_registered: dict[Operator, _Plugin] = {}


class _Plugin:
    """One operator's two functions; the kernel can be exchanged, since TensorRT registers a name once."""

    def __init__(self, trt: ModuleType, trtp: ModuleType, spec: OperatorSpec) -> None:
        self.loaded: LoadedKernel | None = None
        self.failures: list[str] = []
        self._trt = trt
        self._trtp = trtp
        self._spec = spec

    def description(self) -> Callable[..., Any]:
        """The function for ``tensorrt.plugin.register``: type and symbolic shape of the output."""
        trt, trtp, spec = self._trt, self._trtp, self._spec

        def describe(*tensors: Any, **attributes: Any) -> Any:  # noqa: ANN401 - TensorRT's own types
            first = tensors[0]
            extents = tuple(
                tensors[extent.input].shape_expr[extent.axis]
                if isinstance(extent, InputExtent)
                else _number(attributes[extent.attribute])
                for extent in spec.output
            )
            dtype = trt.DataType.FLOAT if spec.output_type == "fp32" else first.dtype
            return trtp.from_shape_expr(extents, dtype)

        return _signed(describe, self._parameters(), trtp.TensorDesc)

    def implementation(self) -> Callable[..., Any]:
        """The function for ``tensorrt.plugin.aot_impl``: the kernel and how it is launched."""
        trtp = self._trtp

        def implement(*arguments: Any) -> Any:  # noqa: ANN401 - TensorRT's own types
            with noting_refusals(self.failures):
                loaded = self._checked(arguments)
            kernel = loaded.kernel
            launch = trtp.KernelLaunchParams()
            launch.grid_x, launch.grid_y, launch.grid_z = kernel.grid
            launch.block_x, launch.block_y, launch.block_z = kernel.block
            launch.shared_mem = kernel.shared_memory_bytes
            return kernel.entry, loaded.ptx, launch, trtp.SymIntExprs(0)

        parameters = {
            **self._parameters(),
            "outputs": tuple[trtp.TensorDesc],  # type: ignore[name-defined]
            "tactic": int,
        }
        returned = tuple[str | bytes, str | bytes, trtp.KernelLaunchParams, trtp.SymIntExprs]  # type: ignore[name-defined]
        return _signed(implement, parameters, returned)

    def _parameters(self) -> dict[str, Any]:
        return {
            **dict.fromkeys(self._spec.inputs, self._trtp.TensorDesc),
            **dict.fromkeys(self._spec.attributes, _ATTRIBUTE),
        }

    def _checked(self, arguments: tuple[Any, ...]) -> LoadedKernel:
        spec = self._spec
        tensors = arguments[: len(spec.inputs)]
        attributes = {
            name: _number(value)
            for name, value in zip(spec.attributes, arguments[len(spec.inputs) : -2], strict=True)
        }
        if self.loaded is None:
            raise BackendError(f"{spec.name} has no kernel; call register_plugins with a bundle first")
        kernel = self.loaded.kernel
        check_shapes(kernel, [tuple(tensor.shape) for tensor in tensors], attributes)
        expected = self._trt.DataType.HALF if kernel.dtype == "fp16" else self._trt.DataType.BF16
        for name, tensor in zip(spec.inputs, tensors, strict=True):
            if tensor.dtype != expected:
                raise BackendError(
                    f"{spec.name} expects {name} in {kernel.dtype}, as {kernel.ptx.path} is compiled for "
                    f"(got {tensor.dtype}); build the bundle's fp16 or int8 model with the plugins"
                )
        return self.loaded


def register_aot(trt: ModuleType, kernels: Mapping[Operator, LoadedKernel]) -> list[str]:
    """Make the operators known to TensorRT's parser.

    A later call exchanges the kernels, so a process builds engines of one bundle at a time.

    Args:
        trt: TensorRT's module.
        kernels: Result of :func:`danet_runtime.tensorrt.kernels.kernels.select_kernels`.

    Returns:
        A list that the reasons of refusals are appended to while an engine is built.
    """
    trtp = importlib.import_module(f"{trt.__name__}.plugin")
    failures: list[str] = []
    for name, loaded in kernels.items():
        if name not in _registered:
            plugin = _Plugin(trt, trtp, OPERATORS[name])
            identity = f"{NAMESPACE}::{name}"
            trtp.register(identity)(plugin.description())
            trtp.aot_impl(identity)(plugin.implementation())
            _registered[name] = plugin
        _registered[name].loaded = loaded
        _registered[name].failures = failures
    return failures


def has_registered() -> bool:
    """Whether this process has registered an operator."""
    return bool(_registered)


def network_flags(trt: ModuleType) -> int:
    """The flag that asks for ahead-of-time plugins, so that none is ever taken just in time."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS)


def _number(value: Any) -> int:  # noqa: ANN401 - an array of one number
    return int(np.asarray(value).reshape(-1)[0])


def _signed(function: Callable[..., Any], parameters: Mapping[str, Any], returned: Any) -> Callable[..., Any]:  # noqa: ANN401
    # inspect.signature, by which tensorrt.plugin reads a function, takes this attribute's word.
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
            for name, annotation in parameters.items()
        ],
        return_annotation=returned,
    )
    return function
