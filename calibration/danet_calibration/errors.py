"""Errors of the calibration, part of the runtime's tree.

CalibrationError          the bundle cannot be quantised as asked
├── CalibrationSetError   the images cannot stand for what the camera will see
└── GateError             the quantised model was made, but does not meet its gate
"""

from __future__ import annotations

from typing import Any

from danet_runtime.errors import DanetError


class CalibrationError(DanetError):
    """The bundle cannot be quantised as asked."""


class CalibrationSetError(CalibrationError):
    """The images cannot stand for what the camera will see."""


class GateError(CalibrationError):
    """The quantised model was made, but does not meet its gate.

    Attributes:
        verdict: The measurements as JSON values; at least ``gate`` and ``reason``.
    """

    def __init__(self, reason: str, verdict: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.verdict = verdict or {"gate": "failed", "reason": reason}
