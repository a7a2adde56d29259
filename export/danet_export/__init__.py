"""DANet Edge export: a checkpoint becomes a bundle of ONNX models with fused attention nodes.

Importing this package is light; torch and ONNX are loaded when a public name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from danet_export.errors import (
        ExportError as ExportError,
        ParityError as ParityError,
    )
    from danet_export.graph.geometry import (
        Geometry as Geometry,
        plan_geometry as plan_geometry,
    )
    from danet_export.kernels.architectures import KernelRequest as KernelRequest
    from danet_export.pipeline import (
        ExportSettings as ExportSettings,
        export_bundle as export_bundle,
    )

_HOMES: Final = {
    "ExportError": "danet_export.errors",
    "ExportSettings": "danet_export.pipeline",
    "Geometry": "danet_export.graph.geometry",
    "KernelRequest": "danet_export.kernels.architectures",
    "ParityError": "danet_export.errors",
    "export_bundle": "danet_export.pipeline",
    "plan_geometry": "danet_export.graph.geometry",
}

__all__ = tuple(_HOMES)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whichever public name was asked for
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
