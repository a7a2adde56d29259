"""The statement of a class of sinks: the texts that name it, and how it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

from danet_runtime.registry import Statement
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.sink import Sink


@dataclass(frozen=True, kw_only=True)
class SinkStatement(Statement):
    """The statement of a class of sinks: the texts that name it, and how it writes.

    Attributes:
        schemes: Schemes of the texts that name it, each without the colon that follows it.
        suffixes: Suffixes of the files that it writes, in lower case with their dots; a path with one of them
            needs no scheme.
        writes: Whether its name is the path of a file, of a picture, which is one result and written at once,
            of a folder, or of none of them. A sink that writes a file
            is a :class:`danet_runtime.sinks.writing.parts.FileSink`: its output is split in time, and goes on
            in another file where one breaks. The first class that writes a folder takes paths without a
            suffix.
        may_stream: Whether the file may be a FIFO or a device, which is written through.
        is_address: Whether its name is the whole text, with its scheme.
        is_shared: Whether several outputs may have one name.
        own_braces: Schemes behind which braces belong to the name, and are no placeholders.
    """

    schemes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    writes: Literal["file", "picture", "folder"] | None = None
    may_stream: bool = False
    is_address: bool = False
    is_shared: bool = False
    own_braces: tuple[str, ...] = ()


class SinkWanted(NamedTuple):
    """The settings of a sink besides its name.

    Attributes:
        style: How overlays are drawn.
        overwrite: Whether files that exist may be replaced.
        grey_masks: Whether masks are grey pictures; else they have the colors of the classes as palette.
    """

    style: OverlayStyle = OverlayStyle()
    overwrite: bool = False
    grey_masks: bool = False


class RegisteredSink(Sink, Protocol):
    """A class of sinks that a text can name.

    Attributes:
        statement: The texts that name the class, and how it writes.
    """

    statement: ClassVar[SinkStatement]

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> Sink:
        """Make the sink that a text names.

        Args:
            rest: The text behind the scheme, with its options; or a path; or the whole address.
            wanted: The other settings.

        Raises:
            UsageError: It makes no sense, or a file that exists may not be replaced.
        """
