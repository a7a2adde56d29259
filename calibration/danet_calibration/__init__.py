"""DANet Edge calibration: a bundle and images become an INT8 bundle with its measured accuracy.

Importing this package is light; ONNX and its runtime are loaded when a public name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from danet_calibration.errors import (
        CalibrationError as CalibrationError,
        CalibrationSetError as CalibrationSetError,
        GateError as GateError,
    )
    from danet_calibration.gate.rules import GateRules as GateRules
    from danet_calibration.images.images import (
        CalibrationSet as CalibrationSet,
        choose_images as choose_images,
    )
    from danet_calibration.measure.accuracy import LabelledSet as LabelledSet
    from danet_calibration.pipeline import (
        CalibrationSettings as CalibrationSettings,
        calibrate_bundle as calibrate_bundle,
    )

_HOMES: Final = {
    "CalibrationError": "danet_calibration.errors",
    "CalibrationSet": "danet_calibration.images.images",
    "CalibrationSetError": "danet_calibration.errors",
    "CalibrationSettings": "danet_calibration.pipeline",
    "GateError": "danet_calibration.errors",
    "GateRules": "danet_calibration.gate.rules",
    "LabelledSet": "danet_calibration.measure.accuracy",
    "calibrate_bundle": "danet_calibration.pipeline",
    "choose_images": "danet_calibration.images.images",
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
