"""Optional abilities of a source: each is a protocol, and a source that fits it has the ability.

A stream asks by ``isinstance`` and uses what is there; a source states nothing twice. One more,
:class:`danet_runtime.frames.pixel_formats.StatesPixels`, says in which format a source writes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol, runtime_checkable

from danet_runtime.sources.protocol.damage import DamageCount
from danet_runtime.sources.protocol.source import Source


@runtime_checkable
class Reopenable(Protocol):
    """A live source that can be opened again after a failure."""

    def reopen(self) -> None:
        """Open it again, in the reading thread.

        Ids begin at 0 again, and it may come back with another ``size_hw`` or ``pixels``. Whatever it raises
        but ``UsageError`` and ``MissingDependencyError`` is tried again.

        Raises:
            SourceError: The source cannot be opened.
        """


@runtime_checkable
class Interruptible(Protocol):
    """A source whose ``read_into`` can be ended from another thread while it hangs."""

    def interrupt(self) -> None:
        """Make a read or an opening that hangs return or raise."""


@runtime_checkable
class Awaited(Protocol):
    """A source that may be handed over before it could be opened.

    A stream opens it with ``reopen`` before it reads; its ``size_hw`` is a guess until then.

    Attributes:
        awaited: Why it is not open yet; ``None`` once it was opened.
    """

    awaited: str | None


@runtime_checkable
class AwaitableSource(Source, Reopenable, Interruptible, Awaited, Protocol):
    """A source that is made first and opened later, as a camera that may come up after the computer.

    Attributes:
        name: Name of the source in errors, without credentials.
    """

    name: str

    def await_opening(self, size_hw: tuple[int, int], why: str) -> None:
        """Stand in for a source that cannot be opened yet: reads fail, until ``reopen`` does not.

        Args:
            size_hw: Expected height and width of its frames; those of another size are adopted.
            why: Message of the error that every read raises until then.
        """


@runtime_checkable
class CountsDamage(Protocol):
    """A source that can tell damaged frames; the health of a stream says how many there are.

    Attributes:
        damage: Counter of the damaged frames, over all openings.
    """

    damage: DamageCount


@runtime_checkable
class StatesAspect(Protocol):
    """A source whose pixels need not be square.

    Attributes:
        sample_aspect_ratio: Ratio of a pixel's width to its height.
    """

    sample_aspect_ratio: Fraction


@runtime_checkable
class StatesRate(Protocol):
    """A file whose frames may come at no constant rate.

    Attributes:
        is_variable: Whether they have times that ``fps`` does not tell.
    """

    is_variable: bool


def aspect_of(source: Source) -> Fraction:
    """Width to height of a pixel of a source; 1, a square, where it says nothing."""
    return source.sample_aspect_ratio if isinstance(source, StatesAspect) else Fraction(1)


def is_variable(source: Source) -> bool:
    """Whether a file's frames have times that its rate does not tell; false where it says nothing."""
    return isinstance(source, StatesRate) and source.is_variable


def why_awaited(source: Source) -> str | None:
    """Why a source is not open yet, where a stream is to open it; else ``None``."""
    return source.awaited if isinstance(source, Awaited) else None


def damage_of(source: Source) -> DamageCount | None:
    """Return the counter of a source's damaged frames; ``None`` where it cannot tell them."""
    return source.damage if isinstance(source, CountsDamage) else None
