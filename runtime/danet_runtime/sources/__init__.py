"""Sources of frames, and how a text names one."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from danet_runtime.errors import UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.source import FrameInfo, Source
from danet_runtime.sources.protocol.uri import redacted

if TYPE_CHECKING:
    from danet_runtime.sources.camera import CameraSource
    from danet_runtime.sources.gstreamer import ChildSource
    from danet_runtime.sources.images import ImagesSource
    from danet_runtime.sources.live.paced import PacedSource
    from danet_runtime.sources.synthetic import SyntheticSource
    from danet_runtime.sources.video import VideoSource
    from danet_runtime.sources.video_files.opencv_video import OpenCvVideoSource

    AnySource: TypeAlias = (
        VideoSource
        | OpenCvVideoSource
        | ImagesSource
        | CameraSource
        | ChildSource
        | SyntheticSource
        | PacedSource
    )

__all__ = ["FrameInfo", "Source", "open_source"]

_ACCEPTED = (
    "a video file, a picture, a folder of pictures, a pattern such as 'frames/*.png', camera:0 or "
    "/dev/video0, rtsp://..., rtsps://..., http(s)://..., csi://0, gst:PIPELINE, or synthetic:"
)
_DEVICE: Final = re.compile(r"/dev/video([0-9]{1,4})")
_CHILD_SCHEMES = ("rtsp", "rtsps", "http", "https", "csi", "gst")


def open_source(
    text: str | Path, *, realtime: bool = False, pixels: Pixels = BGR, damaged: DamagePolicy = "drop"
) -> AnySource:
    """Open what ``text`` names: a URI, a file or folder that exists, a camera's index, or a pattern.

    A file is a picture by its suffix, else a video. ``/dev/video0``, and what leads to it from ``/dev``, is
    ``camera:0``. A ``file:`` URI names a file of this machine, ``%20`` and the like decoded where no file has
    that very name. What stands in the file system under the whole text is a
    file whatever it is called, also a link that leads nowhere: names that a shell made of a pattern never
    become cameras or pipelines.

    Args:
        text: The name.
        realtime: Play a video file at its own rate, as if it were a camera; a live source is one already.
        pixels: The format that is wanted, a segmenter's ``pixels``. Cameras, pipelines and the test pattern
            deliver it untouched where they have it; what OpenCV or FFmpeg decodes (files, pictures, HTTP,
            RTSP without GStreamer) stays BGR, and the segmenter converts it. The source's own ``pixels`` say
            what comes.
        damaged: What becomes of frames that are known or likely to be corrupt: left out and counted, or
            delivered with ``FrameInfo.damage``, or (``stop``) the end of a file.

    Returns:
        The open source; the caller closes it, or hands it to a :class:`danet_runtime.Stream`.

    Raises:
        UsageError: ``text`` names none of these.
        SourceError: What it names cannot be read.
        MissingDependencyError: PyAV, OpenCV, or GStreamer, is not installed.
    """
    if realtime:
        return _played(open_source(text, pixels=pixels, damaged=damaged))
    text = str(text)
    path = path_of(text)
    if path is not None:
        return _open_path(str(path) if _is_file_uri(text) else text, damaged)
    if text.partition(":")[0] == "synthetic":
        from danet_runtime.sources.synthetic import SyntheticSource

        return SyntheticSource(text, pixels)
    camera = live_source(text, pixels, damaged)
    if camera is None:  # path_of has left nothing else
        raise UsageError(f"{redacted(text)!r} is no source; expected {_ACCEPTED}")
    camera.reopen()
    return camera


def live_source(
    text: str, pixels: Pixels = BGR, damaged: DamagePolicy = "drop"
) -> CameraSource | ChildSource | None:
    """The camera or network stream that ``text`` names, not opened yet; ``None`` for all else.

    The arguments are those of :func:`open_source`.

    Raises:
        UsageError: It makes no sense.
        MissingDependencyError: What it needs is not installed.
    """
    if path_of(text) is not None:
        return None
    index = camera_of(text)
    if index is not None:
        from danet_runtime.sources.camera import CameraSource

        return CameraSource(index, pixels, is_open=False)
    if text.partition(":")[0] in _CHILD_SCHEMES:
        from danet_runtime.sources.gstreamer import ChildSource

        return ChildSource(text, pixels=pixels, damaged=damaged, is_open=False)
    return None


def _played(source: AnySource) -> AnySource:
    """The source at its own rate: a live one as it is, with its clock and its way to be opened again."""
    if source.live:
        return source
    from danet_runtime.sources.live.paced import PacedSource

    try:
        return PacedSource(source)
    except UsageError:
        source.close()
        raise


def path_of(text: str) -> Path | None:
    """The file, folder or pattern that a source's name is; ``None`` for what is no file.

    Raises:
        UsageError: It is empty, as a variable of a shell that was never set.
    """
    scheme, colon, rest = text.partition(":")
    if not text or (_is_file_uri(text) and rest in ("", "//")):
        raise UsageError(f"{text!r} names nothing; expected {_ACCEPTED}")
    if _device_of(text) is not None:
        return None
    if is_entry(text):
        return Path(text)
    if _is_file_uri(text):
        return _path_of_uri(rest)
    if text.isdecimal() or (colon and scheme in ("camera", "synthetic", *_CHILD_SCHEMES)):
        return None
    return Path(text)


def _is_file_uri(text: str) -> bool:
    """Whether a name has the scheme ``file``, in letters of any size (RFC 3986, 3.1)."""
    return text.partition(":")[0].lower() == "file" and ":" in text


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


def _device_of(text: str) -> int | None:
    """The number in ``/dev/video0``, or of what a link in ``/dev``, as those of ``/dev/v4l``, leads to."""
    if not text.startswith("/dev/"):
        return None
    match = _DEVICE.fullmatch(os.path.realpath(text))
    return int(match[1]) if match is not None else None


def camera_of(text: str) -> int | None:
    """The number of the device that a source's name is; ``None`` for all that is no camera of this machine.

    Raises:
        UsageError: It begins with ``camera:``, and goes on with something else than a number.
    """
    if (device := _device_of(text)) is not None:
        return device
    scheme, _, rest = text.partition(":")
    if path_of(text) is not None or not (text.isdecimal() or scheme == "camera"):
        return None
    index = text if text.isdecimal() else rest.lstrip("/")
    if not index.isdecimal():
        raise UsageError(f"{redacted(text)!r}: expected camera:N with the number of the device")
    return int(index)


def _open_path(text: str, damaged: DamagePolicy) -> VideoSource | OpenCvVideoSource | ImagesSource:
    from danet_runtime.pictures.decoding import PICTURE_SUFFIXES
    from danet_runtime.sources.images import ImagesSource, is_picture, pictures_in, say_left_out
    from danet_runtime.sources.protocol.natural_order import natural_order

    path = Path(text)
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{redacted(text)} is a link to {path.readlink()}, which is not there")
    if path.is_dir():
        found = pictures_in(path)
        return ImagesSource(found, text, skipped=found.skipped)
    if path.is_file():
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return ImagesSource([path], text)
        from danet_runtime.sources.video import open_video

        return open_video(path, damaged)
    if "://" not in text and glob.has_magic(text):
        matches = [Path(name) for name in glob.glob(text, recursive=True)]  # noqa: PTH207 - also absolute ones
        pictures = sorted((file for file in matches if is_picture(file)), key=natural_order)
        if not pictures:
            raise UsageError(f"{redacted(text)} matches no picture with {', '.join(PICTURE_SUFFIXES)}")
        say_left_out(text, sorted(file for file in matches if not is_picture(file) and not file.is_dir()))
        return ImagesSource(pictures, text)
    if path.exists():
        raise UsageError(
            f"{redacted(text)} is a device, FIFO or socket, and no file of frames; a "
            "camera is camera:N, and 'gst:filesrc location=... ! decodebin' reads what comes out of a pipe"
        )
    if ":" in text:
        raise UsageError(f"{redacted(text)!r} is no source; expected {_ACCEPTED}")
    raise UsageError(f"there is no file or folder {redacted(text)!r}; expected {_ACCEPTED}")
