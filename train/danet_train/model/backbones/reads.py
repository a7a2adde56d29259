"""The tensors of a network that INT8 reads; a backbone that lists them can be fine-tuned for INT8."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True)
class Reader:
    """One place where a tensor is read quantised.

    Attributes:
        kind: ``convolution`` and ``pooling`` read it as their input; ``shortcut`` is the skip side of the
            residual sum of a block; ``branch`` is a side of the sum of the head's branches.
        module: Name of the convolution, of the max-pooling, of the block, or of the branch's last module.
    """

    kind: Literal["convolution", "pooling", "shortcut", "branch"]
    module: str


@dataclass(frozen=True)
class Read:
    """A tensor that may be read quantised.

    Attributes:
        tensor: ``image``, or the name of the module whose output it is.
        reader: The place that reads it.
        needed: Convolutions of which one must run on INT8 for it to be read quantised; none where it always
            is.
    """

    tensor: str
    reader: Reader
    needed: tuple[str, ...] = ()


def read_by_convolution(tensor: str, module: str) -> Read:
    """Return the read of a convolution's input."""
    return Read(tensor, Reader("convolution", module), (module,))


@runtime_checkable
class ListsReads(Protocol):
    """A backbone that can be fine-tuned for INT8."""

    def quantised_reads(self, image: str) -> Generator[Read, None, str]:
        """Yield its reads in the order of computing, by names under ``backbone.``; return the name of c4.

        Args:
            image: Name of its input.
        """
