"""The overlay in a window on this machine's screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from danet_runtime.dependencies import OPENCV, opencv
from danet_runtime.errors import SinkError
from danet_runtime.results.result import Result
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.overlay import OverlayPicture
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted

_QUIT_KEYS = (ord("q"), ord("Q"), 27)  # 27: escape


class WindowSink:
    """Shows the overlay of every result; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    Args:
        title: Title of the window.
        on_quit: Called once, in the sink's thread, when q or escape is pressed or the window is closed; e.g.
            ``stream.stop``. It may be set later, since the stream is made after its sinks.
        style: How the overlay is drawn.
    """

    name = "window"
    statement: ClassVar = SinkStatement(
        name=name,
        form="window:",
        help="the overlay on this screen",
        needs=((OPENCV,),),
        schemes=("window",),
        is_shared=True,
    )

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> WindowSink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        return cls(rest or "danet", style=wanted.style)

    def __init__(
        self,
        title: str = "danet",
        *,
        on_quit: Callable[[], object] | None = None,
        style: OverlayStyle | None = None,
    ) -> None:
        self.on_quit = on_quit
        self._title = title
        self._style = style
        self._shown = 0
        self._is_open = False
        self._has_quit = False

    def open(self, stream_format: StreamFormat) -> None:
        """Check that windows can be shown here.

        Raises:
            SinkError: There is no screen, or this OpenCV was built without windows.
            MissingDependencyError: OpenCV is not installed.
        """
        self._cv2 = opencv("showing a window")
        lines = self._cv2.getBuildInformation().splitlines()
        if any(line.split() == ["GUI:", "NONE"] for line in lines):
            raise SinkError(
                f"OpenCV {self._cv2.__version__} was built without windows (headless); install opencv-python "
                "in place of opencv-python-headless, or write a video with -o"
            )
        if sys.platform.startswith("linux") and not ({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
            raise SinkError(
                "there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set; write a video with -o"
            )
        self.adopt(stream_format)

    def adopt(self, stream_format: StreamFormat) -> None:
        """Show results of this size and format from now on."""
        self._overlay = OverlayPicture(stream_format, self._style)

    def write(self, result: Result) -> None:
        """Show one result; after q nothing more is shown.

        Raises:
            SinkError: The window cannot be made.
        """
        if self._has_quit:
            return
        picture = self._overlay.draw(result)
        try:
            # In the thread that writes: a window belongs to the thread that made it.
            if not self._is_open:
                self._cv2.namedWindow(self._title, self._cv2.WINDOW_NORMAL)
                self._is_open = True
            self._cv2.imshow(self._title, picture)
            key = self._cv2.waitKey(1) & 0xFF
            is_closed = self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) == 0
        except self._cv2.error as error:
            raise SinkError(f"the window cannot be shown: {error}") from error
        self._shown += 1
        if key in _QUIT_KEYS or is_closed:
            self._has_quit = True
            if self.on_quit is not None:
                self.on_quit()

    def describe(self) -> dict[str, Any]:
        """Title and frames shown."""
        return {"kind": self.name, "title": self._title, "frames": self._shown}

    def close(self) -> None:
        """Close the window; harmless when called twice."""
        if self._is_open:
            self._is_open = False
            with suppress(self._cv2.error):
                self._cv2.destroyWindow(self._title)
