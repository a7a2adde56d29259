"""Sinks: where the results of a stream go, and how a text names one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from danet_runtime.errors import UsageError
from danet_runtime.files.targets import is_stream
from danet_runtime.sinks.protocol.sink import Sink, StreamFormat
from danet_runtime.sources.protocol.uri import options_of, redacted

if TYPE_CHECKING:
    from danet_runtime.sinks.callback import CallbackSink
    from danet_runtime.sinks.shared.memory import SharedMaskReader

__all__ = [
    "CallbackSink",
    "SharedMaskReader",
    "Sink",
    "SinkTarget",
    "StreamFormat",
    "open_sink",
    "sink_target",
]

_ACCEPTED = (
    "a video file (.mp4, .m4v, .mov, .mkv, .avi), masks:FOLDER or a folder, jsonl:PATH or a .jsonl file, "
    "window:, udp://HOST:PORT, rtsp://HOST/PATH, gst:PIPELINE, or shm:NAME"
)
_LINES_SUFFIXES = (".jsonl", ".ndjson")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # of an address, or a kind of sink that there is none of


def open_sink(
    text: str | Path, *, legend: bool = False, overwrite: bool = False, split_minutes: float | None = None
) -> Sink:
    """Make the sink that ``text`` names: a URI, or a path by its suffix.

    Args:
        text: The name; a path without a suffix is a folder of masks.
        legend: Whether overlays have the names of the classes.
        overwrite: Whether files that exist may be replaced.
        split_minutes: A video and JSON lines begin a new file after so many minutes; ``None``: only where
            one breaks, see :class:`danet_runtime.sinks.writing.parts.PartedSink`.

    Returns:
        The sink; a :class:`danet_runtime.Stream` opens it when it starts, and closes it.

    Raises:
        UsageError: ``text`` names no sink, or a file that exists and may not be replaced.
    """
    target = sink_target(text)
    if target.kind == "video" or (target.kind == "jsonl" and not is_stream(Path(target.rest))):
        from danet_runtime.sinks.writing.parts import FileSink, PartedSink

        def part(path: Path) -> FileSink:
            from danet_runtime.sinks.json_lines import JsonLinesSink
            from danet_runtime.sinks.video import VideoSink

            if target.kind == "jsonl":
                return JsonLinesSink(path, overwrite=overwrite)
            return VideoSink(path, legend=legend, overwrite=overwrite)

        return PartedSink(part, target.rest, split_minutes, overwrite=overwrite)
    if target.kind == "jsonl" and split_minutes is not None:
        raise UsageError(f"{target.rest} is no file, and only files are split")
    if target.kind == "masks":
        from danet_runtime.sinks.masks import MasksSink

        return MasksSink(target.rest, overwrite=overwrite)
    if target.kind == "jsonl":
        from danet_runtime.sinks.json_lines import JsonLinesSink

        return JsonLinesSink(target.rest, overwrite=overwrite)
    if target.kind == "window":
        from danet_runtime.sinks.window import WindowSink

        return WindowSink(target.rest or "danet", legend=legend)
    if target.kind == "shm":
        from danet_runtime.sinks.shared.memory import SharedMemorySink

        options = options_of(str(text), ("frame", "group"))
        return SharedMemorySink(
            target.rest.partition("?")[0], frame=options.get("frame") == "1", group=options.get("group")
        )
    from danet_runtime.sinks.push import PushSink

    return PushSink(target.rest, legend=legend)


@dataclass(frozen=True)
class SinkTarget:
    """What a text names.

    Attributes:
        kind: Which sink.
        rest: Its file, folder or name; of ``push`` the whole URI.
    """

    kind: Literal["video", "masks", "jsonl", "window", "shm", "push"]
    rest: str

    @property
    def path(self) -> Path | None:
        """The file or folder that is written to, where there is one."""
        return Path(self.rest) if self.kind in ("video", "masks", "jsonl") else None


def sink_target(text: str | Path) -> SinkTarget:
    """What a text names, without making anything.

    What stands in the file system under the whole text is that file or folder, whatever it is called.

    Raises:
        UsageError: It names no sink.
    """
    text = str(text)
    scheme, colon, rest = text.partition(":")
    if os.path.lexists(text):
        return _path_target(text)
    if colon and scheme == "file":
        text, colon = rest.removeprefix("//"), ""
    if colon and scheme == "masks":
        if not rest:
            raise UsageError("masks: needs a folder, e.g. masks:out/masks")
        return SinkTarget("masks", rest)
    if colon and scheme == "jsonl":
        if not rest:
            raise UsageError("jsonl: needs a path, e.g. jsonl:results.jsonl")
        return SinkTarget("jsonl", rest)
    if colon and scheme == "window":
        return SinkTarget("window", rest)
    if colon and scheme == "shm":
        return SinkTarget("shm", rest)
    if colon and scheme in ("udp", "rtsp", "rtsps", "gst"):
        return SinkTarget("push", text)
    return _path_target(text)


def _path_target(text: str) -> SinkTarget:
    from danet_runtime.sinks.writing.video_file import VIDEO_SUFFIXES

    suffix = Path(text).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return SinkTarget("video", text)
    if suffix in _LINES_SUFFIXES:
        return SinkTarget("jsonl", text)
    if text and "://" not in text and (not suffix or Path(text).is_dir()):
        if _SCHEME.match(text) and not os.path.lexists(text):
            raise UsageError(
                f"{redacted(text)!r} is no sink; expected {_ACCEPTED}; a folder of masks that is called so "
                f"is masks:{redacted(text)}"
            )
        return SinkTarget("masks", text)
    raise UsageError(f"{redacted(text)!r} is no sink; expected {_ACCEPTED}")


def __getattr__(name: str) -> object:
    if name == "CallbackSink":
        from danet_runtime.sinks.callback import CallbackSink

        return CallbackSink
    if name == "SharedMaskReader":
        from danet_runtime.sinks.shared.memory import SharedMaskReader

        return SharedMaskReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
