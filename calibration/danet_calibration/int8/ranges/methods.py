"""Names of the calibration methods; nothing heavy is imported, because the command line reads them too."""

from __future__ import annotations

from typing import Final, Literal, get_args

CalibrationMethod = Literal["max", "entropy", "percentile", "mse"]
"""``max`` takes the largest magnitude seen; ``entropy``, ``percentile`` and ``mse`` clip outliers."""

MethodChoice = Literal["auto", "max", "entropy", "percentile", "mse"]
"""A method, or ``auto``: all of them, compared on held-out frames, which neither scales nor gate see."""

METHODS: Final[tuple[CalibrationMethod, ...]] = get_args(CalibrationMethod)
