"""Taking plugins out of TensorRT's registry, and putting them back.

From 10.7 on TensorRT's parser prefers a registered plugin to a function body of the model, so the native and
the reference form would be built of plugins where the process has registered some before.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from danet_runtime.bundle.operators import NAMESPACE, OPERATORS, PLUGIN_VERSION
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import OLDEST, Serves

SERVES: Final = Serves("tensorrt", since=OLDEST)

_withdrawn: list[tuple[ModuleType, Any]] = []


def withdraw_plugins(trt: ModuleType) -> None:
    """Take what this process has registered out of TensorRT's registry, so that function bodies are built.

    Raises:
        BackendError: TensorRT keeps one.
    """
    registry = trt.get_plugin_registry()
    for name in OPERATORS:
        creator = registry.get_creator(name, PLUGIN_VERSION, NAMESPACE)
        if creator is None:
            continue
        if not registry.deregister_creator(creator):
            raise BackendError(
                f"TensorRT {trt.__version__} keeps the plugin {NAMESPACE}::{name}, which its parser would "
                "take; build this form in a process of its own"
            )
        _withdrawn.append((trt, creator))


def restore_plugins(trt: ModuleType) -> None:
    """Put back what was taken out.

    Raises:
        BackendError: TensorRT does not take it.
    """
    for entry in [entry for entry in _withdrawn if entry[0] is trt]:
        registry = trt.get_plugin_registry()
        if not registry.register_creator(entry[1], NAMESPACE):
            raise BackendError(
                f"TensorRT {trt.__version__} does not take a plugin of {NAMESPACE} again; start a new process"
            )
        _withdrawn.remove(entry)
