"""A frame in the form that the recorder keeps in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from danet_runtime.results.result import Result

_FACTS_BYTES: Final = 4096
"""Memory that the facts of one frame take, in bytes: a generous estimate."""


@dataclass(frozen=True)
class Record:
    """A frame as JPEG, its labels as PNG, and what is known of them.

    Attributes:
        facts: The result without its pixels: its arrays are empty.
        frame: The frame.
        labels: Labels of the frame, as PNG.
    """

    facts: Result
    frame: bytes
    labels: bytes

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self.frame) + len(self.labels) + _FACTS_BYTES
