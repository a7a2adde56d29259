"""The attention kernels in TensorRT: by which kind of plugin, from which model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from danet_runtime.bundle.manifest import KernelDtype, KernelVariant
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS, Operator
from danet_runtime.bundle.reader import Bundle
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import OLDEST, PluginRoute, library_of, parse_version
from danet_runtime.tensorrt.kernels.kernels import select_kernels
from danet_runtime.tensorrt.kernels.ptx import Release
from danet_runtime.tensorrt.plugins import aot, v3
from danet_runtime.tensorrt.plugins.onnx_file import node_types, without_functions
from danet_runtime.tensorrt.plugins.withdrawal import restore_plugins, withdraw_plugins


@dataclass(frozen=True)
class Registration:
    """Plugins that TensorRT knows.

    Attributes:
        route: ``aot``: the engine holds the kernels; ``v3``: Python launches them when the engine runs.
        network_flags: Flags that the network must be created with: strongly typed, ahead-of-time plugins.
        failures: Why a plugin refused, filled while an engine is built or run. TensorRT prints a plugin's
            error and then reports only that it failed, so a caller that got nothing shows these.
    """

    route: PluginRoute
    network_flags: int
    failures: list[str]


def register_plugins(
    trt: ModuleType,
    bundle: Bundle,
    arch: str,
    dtype: KernelDtype = "fp16",
    variant: KernelVariant = "tuned",
    *,
    operators: Sequence[Operator] = tuple(OPERATORS),
    driver_cuda: Release | None = None,
) -> Registration:
    """Make a bundle's kernels known to TensorRT's parser, before a network is parsed.

    Args:
        trt: The module ``tensorrt``.
        bundle: Bundle that holds the kernels.
        arch: Architecture of the GPU that the engine is built on and for, as ``sm_87``.
        dtype: Type of the custom operators' tensors in the model.
        variant: ``small`` for kernels that need at most 48 KiB of shared memory.
        operators: Operators of the model (:func:`operators_of`): a bundle holds no kernels for others.
        driver_cuda: The CUDA release of the driver; unchecked where it is not given.

    Raises:
        BackendError: TensorRT for RTX, which has no plugins; TensorRT before 10.0; no kernels for this GPU.
        BundleError: A kernel is not what the manifest says.
    """
    library = library_of(trt)
    route = library.plugin_route  # TensorRT for RTX is refused here, before anything is registered
    restore_plugins(trt)
    kernels = select_kernels(bundle, arch, dtype, variant, driver_cuda=driver_cuda, operators=operators)
    flags = library.network_flags
    if route == "aot":
        failures = aot.register_aot(trt, kernels)
        flags |= aot.network_flags(trt)
    else:
        failures = v3.register_v3(trt, kernels)
    return Registration(route, flags, failures)


def register_for_running(trt: ModuleType) -> Registration:
    """Make ready to deserialise engines that were built with the plugins; needs no bundle.

    Ahead-of-time plugins need nothing. Python plugins need their creators registered in the process.

    Raises:
        BackendError: TensorRT for RTX, which has no plugins, or TensorRT before 10.0.
    """
    route = library_of(trt).plugin_route
    restore_plugins(trt)
    return Registration(route, 0, v3.register_v3(trt, {}) if route == "v3" else [])


def build_without_plugins(trt: ModuleType) -> None:
    """Make sure that function bodies are built, also where this process has built plugins before.

    Raises:
        BackendError: TensorRT does not let a plugin go.
    """
    if aot.has_registered() or v3.has_registered(trt):
        withdraw_plugins(trt)


def operators_of(model: bytes) -> tuple[Operator, ...]:
    """The custom operators that a model holds.

    Raises:
        BackendError: The model holds an operator that this version has no plugin for.
        BundleError: It is no ONNX file.
    """
    types = dict.fromkeys(node_types(model, NAMESPACE))
    unknown = [name for name in types if name not in OPERATORS]
    if unknown:
        raise BackendError(
            f"expected the operators {', '.join(OPERATORS)} of the domain {NAMESPACE}, the model holds "
            f"{', '.join(unknown)}; use the danet version that exported the bundle, or export it again"
        )
    return tuple(name for name in OPERATORS if name in types)


def model_for(trt_version: str, model: bytes) -> bytes:
    """The model file to parse where the plugins are registered: the bundle's, without function bodies.

    Parsers up to 10.6 build a function body even where a plugin of its name is registered, and say nothing:
    the NxN map would be back. From 10.7 on the plugin wins, but where it is missing the body is still built
    and nothing said; without bodies that is an error. So the bodies go for every release.

    TensorRT for RTX and the native and reference lowerings need the bodies: they take the bundle's own file.

    Args:
        trt_version: Version of TensorRT, as ``tensorrt.__version__`` gives it.
        model: The bundle's ONNX file.

    Raises:
        BackendError: TensorRT before 10.0.
        BundleError: It is no ONNX file.
    """
    version = parse_version(trt_version)
    if version[:2] < OLDEST:
        raise BackendError(
            f"expected TensorRT 10.0 or later, got {trt_version}; update TensorRT (JetPack 6.1 or later)"
        )
    return without_functions(model, NAMESPACE)
