"""Sinks: where the results of a stream go, and how a text names one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from danet_runtime.errors import UsageError
from danet_runtime.sinks.base import Sink, StreamFormat
from danet_runtime.sources.uri import options_of, redacted

if TYPE_CHECKING:
    from danet_runtime.sinks.callback import CallbackSink
    from danet_runtime.sinks.shared_memory import SharedMaskReader

__all__ = ["CallbackSink", "SharedMaskReader", "Sink", "StreamFormat", "open_sink"]

_ACCEPTED = (
    "a video file (.mp4, .m4v, .mov, .mkv, .avi), masks:FOLDER or a folder, jsonl:PATH or a .jsonl file, "
    "window:, udp://HOST:PORT, rtsp://HOST/PATH, gst:PIPELINE, or shm:NAME"
)
_LINES_SUFFIXES = (".jsonl", ".ndjson")


def open_sink(text: str | Path, *, legend: bool = False, overwrite: bool = False) -> Sink:
    """Make the sink that ``text`` names: a URI, or a path by its suffix.

    Args:
        text: The name; a path without a suffix is a folder of masks.
        legend: Whether overlays have the names of the classes.
        overwrite: Whether files that exist may be replaced.

    Returns:
        The sink; a :class:`danet_runtime.Stream` opens it when it starts, and closes it.

    Raises:
        UsageError: ``text`` names no sink, or a file that exists and may not be replaced.
    """
    text = str(text)
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "file":
        text, colon = rest.removeprefix("//"), ""
    if colon and scheme == "masks":
        return _masks(rest, overwrite)
    if colon and scheme == "jsonl":
        return _lines(rest, overwrite)
    if colon and scheme == "window":
        from danet_runtime.sinks.window import WindowSink

        return WindowSink(rest or "danet", legend=legend)
    if colon and scheme == "shm":
        from danet_runtime.sinks.shared_memory import SharedMemorySink

        options = options_of(text, ("frame",))
        return SharedMemorySink(rest.partition("?")[0], frame=options.get("frame") == "1")
    if colon and scheme in ("udp", "rtsp", "rtsps", "gst"):
        from danet_runtime.sinks.push import PushSink

        return PushSink(text, legend=legend)
    return _path(text, legend=legend, overwrite=overwrite)


def _path(text: str, *, legend: bool, overwrite: bool) -> Sink:
    from danet_runtime.sinks.video_file import VIDEO_SUFFIXES

    suffix = Path(text).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        from danet_runtime.sinks.video import VideoSink

        return VideoSink(text, legend=legend, overwrite=overwrite)
    if suffix in _LINES_SUFFIXES:
        return _lines(text, overwrite)
    if text and "://" not in text and (not suffix or Path(text).is_dir()):
        return _masks(text, overwrite)
    raise UsageError(f"{redacted(text)!r} is no sink; expected {_ACCEPTED}")


def _masks(folder: str, overwrite: bool) -> Sink:
    from danet_runtime.sinks.masks import MasksSink

    if not folder:
        raise UsageError("masks: needs a folder, e.g. masks:out/masks")
    return MasksSink(folder, overwrite=overwrite)


def _lines(path: str, overwrite: bool) -> Sink:
    from danet_runtime.sinks.json_lines import JsonLinesSink

    return JsonLinesSink(path, overwrite=overwrite)


def __getattr__(name: str) -> object:
    if name == "CallbackSink":
        from danet_runtime.sinks.callback import CallbackSink

        return CallbackSink
    if name == "SharedMaskReader":
        from danet_runtime.sinks.shared_memory import SharedMaskReader

        return SharedMaskReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
