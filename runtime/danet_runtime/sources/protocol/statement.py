"""The statement of a class of sources: the texts that name it, and how it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.registry import Statement
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.source import Source


@dataclass(frozen=True, kw_only=True)
class SourceStatement(Statement):
    """The statement of a class of sources: the texts that name it, and how it reads.

    Attributes:
        schemes: Schemes of the texts that name it, each without the colon that follows it.
        suffixes: Suffixes of the files that it reads, in lower case with their dots.
        reads_other_files: Whether it reads the files whose suffix no class states.
        reads_folders: Whether it reads folders, and patterns such as ``a/*.png``.
        canonical: The one text for what a user may write in several ways, one of its schemes in front;
            ``None`` for what names no such source. May raise ``UsageError``. It is asked before anybody looks
            for a file of that name.
        is_awaited: Whether it may come up later: ``named`` does not open it, and it is a
            :class:`danet_runtime.sources.protocol.abilities.AwaitableSource`.
        is_exclusive: Whether what it names gives its frames to one reader.
    """

    schemes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    reads_other_files: bool = False
    reads_folders: bool = False
    canonical: Callable[[str], str | None] | None = None
    is_awaited: bool = False
    is_exclusive: bool = False


class Wanted(NamedTuple):
    """The settings of a source besides its name.

    Attributes:
        pixels: The format that is wanted; a source that has no other may give BGR.
        damaged: How frames are treated that are known or likely to be corrupt.
    """

    pixels: Pixels = BGR
    damaged: DamagePolicy = "drop"


class RegisteredSource(Source, Protocol):
    """A class of sources that a text can name.

    Attributes:
        statement: The texts that name the class, and how it reads.
    """

    statement: ClassVar[SourceStatement]

    @classmethod
    def named(cls, text: str, wanted: Wanted) -> Source:
        """Make the source that a text names.

        Args:
            text: Text with its scheme in front, or the path of a file or folder.
            wanted: The other settings.

        Raises:
            UsageError: The text makes no sense.
            SourceError: The source that the text names cannot be read.
            MissingDependencyError: A program or library that it needs is not installed.
        """
