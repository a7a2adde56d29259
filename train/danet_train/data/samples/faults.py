"""The policy for a sample that cannot be read: the run stops, or it is left out, named and counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from danet_train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

Read = TypeVar("Read")
"""The result of reading: a whole sample, or its labels alone."""

FaultPolicy = Literal["stop", "skip"]
"""``stop`` lets the sample's error end the run; ``skip`` leaves the sample out and goes on."""


class Skipped(NamedTuple):
    """A sample that was left out: its name in the dataset, and its error's message, which names the file."""

    name: str
    why: str


def read_sample(samples: Sequence[Read], index: int, policy: FaultPolicy) -> Read | Skipped:
    """Read sample ``index``; under ``skip`` return why it cannot be read.

    Raises:
        DataError: It cannot be read, under ``stop``.
    """
    try:
        return samples[index]
    except DataError as error:
        if policy == "stop":
            raise
        names = getattr(samples, "names", None)
        return Skipped(names[index] if names is not None else str(index), str(error))


def read_samples(samples: Sequence[Read], policy: FaultPolicy) -> Iterator[Read | Skipped]:
    """Yield every sample in order, each read once; under ``skip`` a :class:`Skipped` for an unreadable one.

    Raises:
        DataError: A sample cannot be read, under ``stop``; or none can, under ``skip``.
    """
    skipped = None
    readable = 0
    for index in range(len(samples)):
        read = read_sample(samples, index, policy)
        if isinstance(read, Skipped):
            skipped = skipped or read
        else:
            readable += 1
        yield read
    if skipped is not None and not readable:
        raise none_readable(len(samples), skipped)


def none_readable(count: int, first: Skipped) -> DataError:
    """Return the error where nothing is left after skipping."""
    return DataError(f"none of the {count} samples can be read; the first: {first.why}")
