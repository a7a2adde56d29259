"""Rates of frames."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

_MOST: Final = 1001
"""Largest denominator: that of television's rates, such as 30000/1001."""


def exact_rate(fps: float) -> Fraction:
    """A rate as the fraction that it was before it became a float: 30000/1001, or one frame in an hour."""
    if fps < 1:
        return 1 / Fraction(1 / fps).limit_denominator(_MOST)
    return Fraction(fps).limit_denominator(_MOST)
