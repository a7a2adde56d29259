"""The two ways in which the machine ends."""

from __future__ import annotations


class Fault(Exception):  # noqa: N818 - a fault of the kernel, in the word of the field
    """The kernel does what a GPU would punish, or leaves open.

    Attributes:
        kind: Short name, such as ``shared-race``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class UnsupportedPtxError(Exception):
    """The text holds something that the machine does not know."""
