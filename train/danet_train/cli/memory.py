"""Report running out of memory as a message instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from danet_train.errors import OutOfMemoryError

_CPU_ALLOCATOR = "can't allocate memory"
"""torch has a class of its own for CUDA alone."""


@contextmanager
def telling_of_memory(advice: str) -> Iterator[None]:
    """Raise an :class:`OutOfMemoryError` where the block runs out of memory.

    Args:
        advice: The options that reduce the memory.
    """
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _CPU_ALLOCATOR in str(error)
        if not short:
            raise
        first = str(error).splitlines()[0] if str(error) else "no memory is left"
        raise OutOfMemoryError(f"{first}; make {advice} smaller") from error
