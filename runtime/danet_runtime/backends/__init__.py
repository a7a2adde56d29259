"""Backends by name, behind the protocol of :mod:`danet_runtime.backends.base`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from danet_runtime.errors import UsageError

if TYPE_CHECKING:
    from danet_runtime.backends.base import Backend
    from danet_runtime.bundle.manifest import Precision
    from danet_runtime.bundle.reader import Bundle

BACKENDS = ("onnxruntime",)
"""Names that :func:`open_backend` knows."""


def open_backend(
    bundle: Bundle, precision: Precision, backend: str = "onnxruntime", *, threads: int | None = None
) -> Backend:
    """Load one variant of a bundle into one backend; the caller closes it.

    Args:
        bundle: Its files are verified before they are parsed.
        precision: Which variant.
        backend: One of :data:`BACKENDS`; there is no fallback to another.
        threads: CPU threads of one inference; by default the backend's own choice, one a core.

    Raises:
        UsageError: No backend has this name, or the bundle does not hold this variant.
        IntegrityError: The model file is not the one that was written.
        BackendError: The model cannot be loaded.
        MissingDependencyError: The backend's package is not installed.
    """
    if backend == "onnxruntime":
        from danet_runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, precision, threads=threads)
    raise UsageError(f"no backend is called {backend!r}; there is {', '.join(BACKENDS)}")
