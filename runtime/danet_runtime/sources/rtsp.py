"""RTSP cameras, in a child process: through GStreamer, or through FFmpeg where that is not installed."""

from __future__ import annotations

from typing import ClassVar, Final
from urllib.parse import urlsplit

from danet_runtime.dependencies import GSTREAMER, PYAV, has_program
from danet_runtime.errors import UsageError
from danet_runtime.frames.pixel_formats import Pixels
from danet_runtime.processes.start import module_command
from danet_runtime.sources.gstreamer import ChildCommand, ChildSource, gstreamer_command, out_of_engine
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.statement import SourceStatement
from danet_runtime.sources.protocol.uri import check_address, redacted

_REORDER_MS: Final = 50
"""How long a packet that others have overtaken is awaited; nothing else waits for it."""


class RtspSource(ChildSource):
    """A camera that sends RTSP; see :class:`danet_runtime.sources.gstreamer.ChildSource`.

    Its URI is ``rtsp://...`` or ``rtsps://...``; ``#hosts=HOST,HOST`` behind it names hosts that the camera
    may send on to, else only its own is asked.
    """

    statement: ClassVar = SourceStatement(
        name="rtsp",
        form="rtsp://... or rtsps://...",
        help="with #hosts=HOST,HOST",
        needs=((GSTREAMER, PYAV),),
        schemes=("rtsp", "rtsps"),
        is_awaited=True,
    )

    @staticmethod
    def child_command(uri: str, pixels: Pixels, damaged: DamagePolicy) -> ChildCommand:
        """See :class:`danet_runtime.sources.gstreamer.ChildSource`."""
        plain, hosts = _hosts_of(uri)
        if not has_program(GSTREAMER):
            command = module_command("danet_runtime.sources.network.ffmpeg_child", "{fd}")
            return ChildCommand(command, (plain,), "ffmpeg")
        reader = f'rtspsrc location="{plain}" buffer-mode=slave latency={_REORDER_MS} ! decodebin'
        return gstreamer_command(f"{reader} ! {out_of_engine(pixels)}", uri, pixels, damaged, hosts)


def _hosts_of(uri: str) -> tuple[str, tuple[str, ...]]:
    """An address without what is behind its ``#``, and the hosts that may be asked."""
    check_address(uri)
    plain, _, fragment = uri.partition("#")
    key, _, more = fragment.partition("=")
    if fragment and key != "hosts":
        raise UsageError(
            f"{redacted(uri)!r}: behind the # expected hosts=HOST,HOST; encode a # of the address as %23"
        )
    own = (urlsplit(plain).hostname or "").lower()
    return plain, (own, *(host.strip().lower() for host in more.split(",") if host.strip()))
