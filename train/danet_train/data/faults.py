"""What becomes of a sample that cannot be read: the run stops, or it is left out, named and counted."""

from __future__ import annotations

from typing import Literal, NamedTuple

FaultPolicy = Literal["stop", "skip"]
"""``stop`` lets the sample's error end the run; ``skip`` leaves the sample out and goes on."""


class Skipped(NamedTuple):
    """A sample that was left out: its name in the dataset, and its error's message, which names the file."""

    name: str
    why: str
