"""Errors of the calibration, part of the runtime's tree.

CalibrationError          the bundle cannot be quantised as asked
├── CalibrationSetError   the images cannot stand for what the camera will see
└── GateError             the quantised model was made, but does not meet its gate
"""

from __future__ import annotations

from danet_runtime.errors import DanetError


class CalibrationError(DanetError):
    """The bundle cannot be quantised as asked."""


class CalibrationSetError(CalibrationError):
    """The images cannot stand for what the camera will see."""


class GateError(CalibrationError):
    """The quantised model was made, but does not meet its gate."""
