"""The backends that there are, a line for each class, which says the rest of itself; and opening one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from danet_runtime.backends.base import Backend
from danet_runtime.backends.statement import BackendWanted, EngineStatement, RegisteredBackend
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.errors import UsageError
from danet_runtime.registry import Registry

BACKENDS: Final[Registry[RegisteredBackend]] = Registry(
    "danet_runtime.backends.onnxruntime:OnnxRuntimeBackend",
    "danet_runtime.backends.polygraphy:PolygraphyBackend",
    "danet_runtime.backends.tensorrt:TensorRT",
    "danet_runtime.backends.tensorrt:TensorRTRtx",
)
"""Each as ``module:Class``; what a class must have is :class:`RegisteredBackend`."""


def backends(*, compared: bool = False) -> dict[str, type[RegisteredBackend]]:
    """The backends by name.

    Args:
        compared: Return the backends of `danet compare`, which include some for comparisons alone.
    """
    return {
        kind.statement.name: kind for kind in BACKENDS if compared or not kind.statement.is_for_comparison
    }


def engine_backends() -> dict[str, EngineStatement]:
    """The statements of the backends that run engines, by name; `danet build` makes those engines."""
    stated = (kind.statement for kind in BACKENDS)
    return {one.name: one for one in stated if isinstance(one, EngineStatement)}


def gpu_backend_names() -> str:
    """The backends that take frames on the GPU, for an error."""
    return " or ".join(f'"{name}"' for name, kind in backends().items() if kind.statement.takes_gpu)


def find_backend(name: str, *, compared: bool = False) -> type[RegisteredBackend]:
    """The class of a backend; the argument is that of :func:`backends`.

    Raises:
        UsageError: No backend has this name.
    """
    there = backends(compared=compared)
    if name not in there:
        raise UsageError(f"no backend is called {name!r}; there is {', '.join(there)}")
    return there[name]


def open_backend(
    bundle: Bundle,
    precision: Precision,
    backend: str = "onnxruntime",
    *,
    threads: int | None = None,
    engine_folder: Path | None = None,
) -> Backend:
    """Load one variant of a bundle into one backend; the caller closes it.

    Args:
        bundle: Bundle to run; its files are verified before they are parsed.
        precision: Variant of the bundle to run.
        backend: A name out of :func:`backends`; there is no fallback to another.
        threads: CPU threads of one inference; by default the backend's own choice, one a core. Not for
            TensorRT.
        engine_folder: Folder of TensorRT's engines; by default the user's cache.

    Raises:
        UsageError: No backend has this name, the bundle does not hold this variant, or an option is not for
            this backend.
        IntegrityError: The model file is not the one that was written.
        BackendError: The model cannot be loaded; for TensorRT: no GPU, or no engine that runs on it.
        MissingDependencyError: The backend's package is not installed.
    """
    kind = find_backend(backend)
    if engine_folder is not None and not isinstance(kind.statement, EngineStatement):
        raise UsageError(
            f"{backend} takes no engines; leave --engine-dir out, or choose {' or '.join(engine_backends())}"
        )
    if threads is not None and not kind.statement.takes_threads:
        why = "runs on the GPU" if kind.statement.takes_gpu else "has no threads to be counted"
        raise UsageError(f"{backend} {why}; leave --threads out")
    return kind.opened(bundle, precision, BackendWanted(threads, engine_folder))
