"""Cameras that send over HTTP: motion JPEG, MPEG-TS or HLS, in a child process with a client of its own."""

from __future__ import annotations

from typing import ClassVar

from danet_runtime.dependencies import PYAV
from danet_runtime.frames.pixel_formats import Pixels
from danet_runtime.processes.start import module_command
from danet_runtime.sources.gstreamer import ChildCommand, ChildSource
from danet_runtime.sources.network.http_address import HttpAddress
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.statement import SourceStatement


class HttpSource(ChildSource):
    """A camera that sends over HTTP; see :class:`danet_runtime.sources.gstreamer.ChildSource`.

    Its URI is an :class:`danet_runtime.sources.network.http_address.HttpAddress`; the client keeps to the
    hosts that it names.
    """

    statement: ClassVar = SourceStatement(
        name="http",
        form="http(s)://...",
        help="motion JPEG, MPEG-TS or HLS, with #hosts=HOST,HOST&verify=yes",
        needs=((PYAV,),),
        schemes=("http", "https"),
        is_awaited=True,
    )

    @staticmethod
    def child_command(uri: str, pixels: Pixels, damaged: DamagePolicy) -> ChildCommand:
        """See :class:`danet_runtime.sources.gstreamer.ChildSource`."""
        HttpAddress.of(uri)
        command = module_command("danet_runtime.sources.network.http_child", "{fd}")
        return ChildCommand(command, (uri,), "ffmpeg")
