"""Backends by name, behind the protocol of :mod:`danet_runtime.backends.base`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from danet_runtime.errors import UsageError

if TYPE_CHECKING:
    from danet_runtime.backends.base import Backend
    from danet_runtime.bundle.manifest import Precision
    from danet_runtime.bundle.reader import Bundle
    from danet_runtime.tensorrt.build.library import Flavour

BACKENDS = ("onnxruntime", "tensorrt", "tensorrt-rtx")
"""Names that :func:`open_backend` knows."""


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
        bundle: Its files are verified before they are parsed.
        precision: Which variant.
        backend: One of :data:`BACKENDS`; there is no fallback to another.
        threads: CPU threads of one inference; by default the backend's own choice, one a core. Not for
            TensorRT.
        engine_folder: Where TensorRT's engines are kept; the user's cache where it is not given.

    Raises:
        UsageError: No backend has this name, the bundle does not hold this variant, or an option is not for
            this backend.
        IntegrityError: The model file is not the one that was written.
        BackendError: The model cannot be loaded; for TensorRT: no GPU, or no engine that runs on it.
        MissingDependencyError: The backend's package is not installed.
    """
    if backend == "onnxruntime":
        if engine_folder is not None:
            raise UsageError("onnxruntime takes no engines; leave --engine-dir out, or choose tensorrt")
        from danet_runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, precision, threads=threads)
    if backend == "tensorrt" or backend == "tensorrt-rtx":
        if threads is not None:
            raise UsageError(f"{backend} runs on the GPU; leave --threads out")
        from danet_runtime.tensorrt.backend import TensorRTBackend

        flavour: Flavour = "tensorrt" if backend == "tensorrt" else "tensorrt-rtx"
        return TensorRTBackend(bundle, precision, flavour, engine_folder)
    raise UsageError(f"no backend is called {backend!r}; there is {', '.join(BACKENDS)}")
