"""The sinks that there are, a line for each class, which says the rest of itself; and what a text names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from danet_runtime.errors import UsageError
from danet_runtime.files.targets import is_stream
from danet_runtime.registry import Registry
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.sink import Sink
from danet_runtime.sinks.protocol.statement import RegisteredSink, SinkWanted
from danet_runtime.sinks.writing.parts import FileSink, PartedSink
from danet_runtime.sources.protocol.uri import redacted

SINKS: Final[Registry[RegisteredSink]] = Registry(
    "danet_runtime.sinks.video:VideoSink",
    "danet_runtime.sinks.picture:PictureSink",
    "danet_runtime.sinks.masks:MasksSink",
    "danet_runtime.sinks.overlays:OverlaysSink",
    "danet_runtime.sinks.json_lines:JsonLinesSink",
    "danet_runtime.sinks.window:WindowSink",
    "danet_runtime.sinks.push:PushSink",
    "danet_runtime.sinks.shared.memory:SharedMemorySink",
)
"""Each as ``module:Class``; what a class must have is :class:`RegisteredSink`."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # of an address, or a kind of sink that there is none of


@dataclass(frozen=True)
class SinkTarget:
    """The class of sinks that a text names, and what the class is given.

    Attributes:
        sink: The class of the sink.
        rest: The text that the class is given: a file, folder, name or address.
    """

    sink: type[RegisteredSink]
    rest: str

    @property
    def kind(self) -> str:
        """The name of the sink."""
        return self.sink.statement.name

    @property
    def path(self) -> Path | None:
        """The file or folder that is written to, where there is one."""
        return Path(self.rest) if self.sink.statement.writes is not None else None


def open_sink(
    text: str | Path,
    *,
    style: OverlayStyle | None = None,
    overwrite: bool = False,
    split_minutes: float | None = None,
    grey_masks: bool = False,
) -> Sink:
    """Make the sink that ``text`` names: a URI, or a path by its suffix.

    Args:
        text: The name; a path without a suffix is a folder of masks.
        style: How overlays are drawn.
        overwrite: Whether files that exist may be replaced.
        split_minutes: Minutes after which files such as a video and JSON lines are begun anew; ``None``:
            only where one breaks, see :class:`danet_runtime.sinks.writing.parts.PartedSink`.
        grey_masks: Masks are grey pictures; else they have the colors of the classes as palette.

    Returns:
        The sink; a :class:`danet_runtime.Stream` opens it when it starts, and closes it.

    Raises:
        UsageError: ``text`` names no sink, or a file that exists and may not be replaced.
    """
    target = sink_target(text)
    wanted = SinkWanted(style or OverlayStyle(), overwrite, grey_masks)
    if target.sink.statement.writes != "file":
        return target.sink.named(target.rest, wanted)
    if target.sink.statement.may_stream and is_stream(Path(target.rest)):
        if split_minutes is not None:
            raise UsageError(f"{target.rest} is no file, and only files are split")
        return target.sink.named(target.rest, wanted)

    def part(path: Path) -> FileSink:
        sink = target.sink.named(str(path), wanted)
        if not isinstance(sink, FileSink):
            raise TypeError(f"{target.sink.__name__} states that it writes a file, and is no FileSink")
        return sink

    return PartedSink(part, target.rest, split_minutes, overwrite=overwrite)


def sink_target(text: str | Path) -> SinkTarget:
    """Find the class of sinks that a text names, without making a sink.

    What stands in the file system under the whole text is that file or folder, whatever it is called.

    Raises:
        UsageError: It names no sink.
    """
    text = str(text)
    if (sink := sink_by_scheme(text)) is None:
        scheme, colon, rest = text.partition(":")
        is_uri = colon and scheme == "file" and not os.path.lexists(text)
        return _path_target(rest.removeprefix("//") if is_uri else text)
    scheme, _, rest = text.partition(":")
    if sink.statement.writes is not None and not rest:
        what = "folder" if sink.statement.writes == "folder" else "path"
        raise UsageError(f"{scheme}: needs a {what}, e.g. {scheme}:out/{sink.statement.name}")
    return SinkTarget(sink, text if sink.statement.is_address else rest)


def sink_by_scheme(text: str) -> type[RegisteredSink] | None:
    """The sink whose scheme a text begins with; ``None`` where there is none, or a file has that name."""
    scheme, colon, _ = text.partition(":")
    if not colon or os.path.lexists(text):
        return None
    return next((sink for sink in SINKS if scheme in sink.statement.schemes), None)


def _path_target(text: str) -> SinkTarget:
    suffix = Path(text).suffix.lower()
    by_suffix = (sink for sink in SINKS if suffix in sink.statement.suffixes)
    if (of_files := next(by_suffix, None)) is not None:
        return SinkTarget(of_files, text)
    of_folders = next(sink for sink in SINKS if sink.statement.writes == "folder")
    if text and "://" not in text and (not suffix or Path(text).is_dir()):
        if _SCHEME.match(text) and not os.path.lexists(text):
            kind = of_folders.statement
            raise UsageError(
                f"{redacted(text)!r} is no sink; expected {SINKS.forms}; a folder of {kind.name} that is "
                f"called so is {kind.schemes[0]}:{redacted(text)}"
            )
        return SinkTarget(of_folders, text)
    raise UsageError(f"{redacted(text)!r} is no sink; expected {SINKS.forms}")
