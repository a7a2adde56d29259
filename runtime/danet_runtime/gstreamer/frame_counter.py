"""Stamps and counts in a child process the frames of a pipeline: what is in a pipe has been sent nowhere."""

from __future__ import annotations

import sys
import threading
from typing import Final

from danet_runtime.gstreamer.library import NO_TIME, PROBE_BUFFER, PROBE_OK, Buffer, Library, ProbeInfo

COUNTER: Final = "danet-count"
"""The element that counts, right behind the source."""

TELL_EVERY_S: Final = 0.1


class FrameCounter:
    """Says as ``COUNT n`` on standard error how many frames have passed an element and all behind it.

    The frame that is just being handed on is not among them: an RTSP sink holds the first one until its
    server has agreed to the recording, and an element that failed has not taken its last.

    Frames are stamped with the running time at which they come. ``do-timestamp`` of a source that is not live
    gives a frame the time since the machine was started where it comes between the moment at which the
    pipeline gets its clock and the one at which it gets its base time: a multiplexer then took all that
    followed for older, and no receiver showed any of it (4 of 12 starts on a busy machine).
    """

    def __init__(self) -> None:
        self._passed = 0
        self._reported = 0
        self._end = threading.Event()
        self._teller = threading.Thread(target=self._run, name="danet-count", daemon=True)

    def attach(self, library: Library, pipeline: int) -> None:
        """Stamp and count from now on."""
        self._library, self._pipeline = library, pipeline
        element = library.gst.gst_bin_get_by_name(pipeline, COUNTER.encode())
        if element:
            library.probe(library.gst.gst_element_get_static_pad(element, b"src"), PROBE_BUFFER, self._note)
            self._teller.start()

    def finish(self, *, has_ended: bool) -> None:
        """Say the last count; at the end of the stream the last frame has been taken, too."""
        if self._teller.ident is not None:
            self._end.set()
            self._teller.join()
            self._tell(self._passed if has_ended else max(0, self._passed - 1))

    def _note(self, info: ProbeInfo) -> int:
        self._passed += 1
        buffer = Buffer.from_address(info.data)
        buffer.pts, buffer.dts = self._library.running_time(self._pipeline), NO_TIME
        return PROBE_OK

    def _run(self) -> None:
        while not self._end.wait(TELL_EVERY_S):
            self._tell(max(0, self._passed - 1))

    def _tell(self, taken: int) -> None:
        if taken != self._reported:
            self._reported = taken
            sys.stderr.write(f"COUNT {taken}\n")
            sys.stderr.flush()
