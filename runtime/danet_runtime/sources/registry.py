"""The sources that there are, a line for each class, which says the rest of itself; and what a text names."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Final, NamedTuple, cast
from urllib.parse import unquote_to_bytes

from danet_runtime.errors import UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.registry import Registry
from danet_runtime.sources.protocol.abilities import AwaitableSource
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.source import Source
from danet_runtime.sources.protocol.statement import RegisteredSource, Wanted
from danet_runtime.sources.protocol.uri import redacted

SOURCES: Final[Registry[RegisteredSource]] = Registry(
    "danet_runtime.sources.video:VideoSource",
    "danet_runtime.sources.images:ImagesSource",
    "danet_runtime.sources.camera:CameraSource",
    "danet_runtime.sources.rtsp:RtspSource",
    "danet_runtime.sources.http:HttpSource",
    "danet_runtime.sources.gstreamer:CsiSource",
    "danet_runtime.sources.gstreamer:PipelineSource",
    "danet_runtime.sources.synthetic:SyntheticSource",
)
"""Each as ``module:Class``; what a class must have is :class:`RegisteredSource`."""


class NamedSource(NamedTuple):
    """The class of sources that a text names, and what the class is given.

    Attributes:
        kind: The class of the source.
        text: The text that the class is given.
    """

    kind: type[RegisteredSource]
    text: str


def open_source(
    text: str | Path, *, realtime: bool = False, pixels: Pixels = BGR, damaged: DamagePolicy = "drop"
) -> Source:
    """Open what ``text`` names: a URI, a file or folder that exists, a camera's index, or a pattern.

    A file is read by the source that states its suffix, else as a video. ``/dev/video0``, and what leads to
    it from ``/dev``, is ``camera:0``. A ``file:`` URI names a file of this machine, ``%20`` and the like
    decoded where no file has that very name. What stands in the file system under the whole text is a file
    whatever it is called, also a link that leads nowhere: names that a shell made of a pattern never become
    cameras or pipelines.

    Args:
        text: The name.
        realtime: Play a video file at its own rate, as if it were a camera; a live source is one already.
        pixels: The format that is wanted, a segmenter's ``pixels``. Cameras, pipelines and the test pattern
            deliver it untouched where they have it; what OpenCV or FFmpeg decodes (files, pictures, HTTP,
            RTSP without GStreamer) stays BGR, and the segmenter converts it. The source's own ``pixels`` say
            what comes.
        damaged: How frames are treated that are known or likely to be corrupt: left out and counted, or
            delivered with ``FrameInfo.damage``, or (``stop``) the end of a file.

    Returns:
        The open source; the caller closes it, or hands it to a :class:`danet_runtime.Stream`.

    Raises:
        UsageError: ``text`` names none of these.
        SourceError: The source that the text names cannot be read.
        MissingDependencyError: PyAV, OpenCV, or GStreamer, is not installed.
    """
    if realtime:
        return _played(open_source(text, pixels=pixels, damaged=damaged))
    text = str(text)
    if (camera := live_source(text, pixels, damaged)) is not None:
        camera.reopen()
        return camera
    kind, named = named_source(text) or _named_by_path(text)
    return kind.named(named, Wanted(pixels, damaged))


def live_source(text: str, pixels: Pixels = BGR, damaged: DamagePolicy = "drop") -> AwaitableSource | None:
    """The camera or network stream that ``text`` names, not opened yet; ``None`` for all else.

    The arguments are those of :func:`open_source`.

    Raises:
        UsageError: It makes no sense.
        MissingDependencyError: A program or library that it needs is not installed.
    """
    found = named_source(text)
    if found is None or not found.kind.statement.is_awaited:
        return None
    return cast(AwaitableSource, found.kind.named(found.text, Wanted(pixels, damaged)))  # as it states


def named_source(text: str) -> NamedSource | None:
    """The source that a text names by its scheme, or in a way of its own; ``None`` for files and patterns.

    Raises:
        UsageError: It begins as the name of a source and makes no sense.
    """
    for kind in SOURCES:
        canonical = kind.statement.canonical
        if canonical is not None and (uri := canonical(text)) is not None:
            return NamedSource(kind, uri)
    scheme, colon, _ = text.partition(":")
    if colon and not is_entry(text):
        for kind in SOURCES:
            if scheme in kind.statement.schemes:
                return NamedSource(kind, text)
    return None


def path_of(text: str) -> Path | None:
    """The file, folder or pattern that a source's name is; ``None`` for what is no file.

    Raises:
        UsageError: It is empty, as a variable of a shell that was never set.
    """
    if named_source(text) is not None:
        return None
    is_uri = _is_file_uri(text)
    rest = text.partition(":")[2] if is_uri else text
    if not rest.removeprefix("//" if is_uri else ""):
        raise UsageError(f"{text!r} names nothing; expected {SOURCES.forms}")
    return _path_of_uri(rest) if is_uri else Path(text)


def _is_file_uri(text: str) -> bool:
    """Whether a name has the scheme ``file``, in letters of any size (RFC 3986, 3.1), and is no file."""
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme.lower() == "file" and not is_entry(text)


def is_entry(text: str) -> bool:
    """Whether something stands in the file system under this name, be it a link that leads nowhere."""
    return os.path.lexists(text)  # not of Path: a pipeline is no path, and may be longer than any


def _path_of_uri(rest: str) -> Path:
    """The file that a ``file:`` URI names (RFC 8089): of this machine, with its percent signs decoded."""
    name = rest.removeprefix("//")
    if is_entry(name):
        return Path(name)
    if rest.startswith("//localhost/"):
        name = name.removeprefix("localhost")
    return Path(os.fsdecode(unquote_to_bytes(os.fsencode(name))))


def _named_by_path(text: str) -> NamedSource:
    named = path_of(text)  # never nothing here; also refuses an empty name
    text = str(named) if _is_file_uri(text) else text
    path = Path(text)
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{redacted(text)} is a link to {path.readlink()}, which is not there")
    if path.is_file():
        return NamedSource(_reader_of(path), text)
    if path.is_dir() or ("://" not in text and glob.has_magic(text)):
        return NamedSource(next(kind for kind in SOURCES if kind.statement.reads_folders), text)
    if path.exists():
        raise UsageError(
            f"{redacted(text)} is a device, FIFO or socket, and no file of frames; a "
            "camera is camera:N, and 'gst:filesrc location=... ! decodebin' reads what comes out of a pipe"
        )
    if ":" in text:
        raise UsageError(f"{redacted(text)!r} is no source; expected {SOURCES.forms}")
    raise UsageError(f"there is no file or folder {redacted(text)!r}; expected {SOURCES.forms}")


def _reader_of(file: Path) -> type[RegisteredSource]:
    suffix = file.suffix.lower()
    by_suffix = (kind for kind in SOURCES if suffix in kind.statement.suffixes)
    return next(by_suffix, None) or next(kind for kind in SOURCES if kind.statement.reads_other_files)


def _played(source: Source) -> Source:
    """The source at its own rate: a live one as it is, with its clock and its way to be opened again."""
    if source.live:
        return source
    from danet_runtime.sources.live.paced import PacedSource

    try:
        return PacedSource(source)
    except UsageError:
        source.close()
        raise
