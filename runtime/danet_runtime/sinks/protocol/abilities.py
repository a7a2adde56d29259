"""Optional abilities of a sink: each is a protocol, and a sink that fits it has the ability.

A stream asks by ``isinstance`` and uses what is there; a sink states nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from danet_runtime.sinks.protocol.sink import Sink, StreamFormat


@runtime_checkable
class AdaptableSink(Sink, Protocol):
    """A sink that can be told of results of another size or format.

    One without the ability gets nothing until the camera has its old format again. Where the size of a camera
    that is awaited is only assumed, a sink with it is opened at the start, any other with the first frame.
    """

    def adopt(self, stream_format: StreamFormat) -> None:
        """Take results of this format from now on; called from the thread that writes.

        Raises:
            SinkFormatError: It cannot, and gets nothing until the old format comes again.
        """


@runtime_checkable
class FlushingSink(Protocol):
    """A sink that flushes to the disk in a thread of its own."""

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest was written that may not be on the disk."""


@runtime_checkable
class SendingSink(Protocol):
    """A sink that hands results to another process, in which they can be lost."""

    @property
    def unsent(self) -> int:
        """Results that were taken and have not left this machine; they may still."""


@runtime_checkable
class ReconnectingSink(Protocol):
    """A sink whose failures are not final: a stream does not give it up.

    Attributes:
        reconnects: Whether that is so.
    """

    reconnects: bool


@runtime_checkable
class RecoveringSink(Protocol):
    """A sink that can tell failures which may pass from those which do not.

    Attributes:
        recovers: Whether the failure of the last write may pass: a later one may succeed.
    """

    recovers: bool


@runtime_checkable
class GappySink(Protocol):
    """A sink that goes on after it has lost something, and tells so.

    Attributes:
        holes: Sentences, each on results that are missing in the output; the list only grows.
    """

    holes: list[str]


@runtime_checkable
class QuittableSink(Protocol):
    """A sink at which somebody may ask for the end of the stream.

    Attributes:
        on_quit: Called once, in the sink's thread, when that happens; ``None``: nobody is told.
    """

    on_quit: Callable[[], object] | None


def unflushed_s(sink: Sink) -> float:
    """How long ago the oldest was written that may not be on the disk; 0 where a sink says nothing."""
    return sink.unflushed_s if isinstance(sink, FlushingSink) else 0.0


def unsent(sink: Sink) -> int:
    """Results that were taken and have not left this machine; 0 where a sink says nothing."""
    return sink.unsent if isinstance(sink, SendingSink) else 0


def may_recover(sink: Sink) -> bool:
    """Whether the failure of the last write may pass."""
    return isinstance(sink, RecoveringSink) and sink.recovers


def comes_back(sink: Sink) -> bool:
    """Whether a sink that fails is not to be given up, however often it does."""
    return may_recover(sink) or (isinstance(sink, ReconnectingSink) and sink.reconnects)


def holes_of(sink: Sink) -> Sequence[str]:
    """Return the sink's sentences on results that are missing; empty where it keeps none."""
    return sink.holes if isinstance(sink, GappySink) else ()
