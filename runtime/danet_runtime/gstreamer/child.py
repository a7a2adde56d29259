"""The child process that runs a GStreamer pipeline: what ``gst-launch-1.0 -q`` does, with nothing to see.

Started by :mod:`danet_runtime.processes.start`, it reads the words of the pipeline from its standard input
(see :mod:`danet_runtime.processes.lifeline`): ``gst-launch-1.0`` takes them as arguments, which every user of
the machine can read, with the passwords of cameras in them. It needs GStreamer's library alone, no bindings.

With the number of a pipe and ``drop`` or ``mark`` as arguments it is a source: the frames that reach the
element :data:`danet_runtime.gstreamer.picture_flow.SINK` are written to the pipe, without those that are
damaged or with what is wrong with them; hosts behind that are the only ones that RTSP may ask
(:mod:`danet_runtime.gstreamer.rtsp_hosts`). Without arguments it is a sink, and says how many frames it has
sent (:mod:`danet_runtime.gstreamer.frame_counter`).

Exit codes: 0 the pipeline has ended by itself, 1 it failed; errors are said on standard error.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int
from typing import TYPE_CHECKING, Any, Final

from danet_runtime.gstreamer import library as of
from danet_runtime.gstreamer.frame_counter import FrameCounter
from danet_runtime.gstreamer.library import Library, Problem
from danet_runtime.processes.lifeline import read_message

if TYPE_CHECKING:
    from danet_runtime.sources.protocol.damage import DamagePolicy

_NAME: Final = b"danet-gstreamer"
_PR_SET_NAME: Final = 15


def run(words: list[str], attach: Callable[[Library, int], None] | None = None) -> int:
    """Run a pipeline to its end.

    Args:
        words: Words of the pipeline, as a shell would give them to ``gst-launch-1.0``.
        attach: Called with the library and the pipeline before it is started.

    Returns:
        The exit code.
    """
    try:
        library = Library()
    except OSError as error:
        _say("ERROR", f"GStreamer's library cannot be loaded: {error}")
        return 1
    gst = library.gst
    problem = POINTER(Problem)()
    given = (c_char_p * (len(words) + 1))(*[word.encode() for word in words], None)
    pipeline = gst.gst_parse_launchv(given, byref(problem))
    if not pipeline or problem:
        _say("ERROR", f"the pipeline cannot be built: {_words_of(problem) or 'it is empty'}")
        return 1
    if attach is not None:
        attach(library, pipeline)
    bus = gst.gst_element_get_bus(pipeline)
    started = gst.gst_element_set_state(pipeline, of.PAUSED)
    is_live = started == of.NO_PREROLL
    if started != of.FAILURE:
        started = gst.gst_element_set_state(pipeline, of.PLAYING)
    # Where it failed, the element that it failed in has left an error on the bus.
    code = _follow(gst, pipeline, bus, is_live, 1_000_000_000 if started == of.FAILURE else of.FOR_EVER)
    gst.gst_element_set_state(pipeline, of.NULL)
    return code


def _follow(gst: Any, pipeline: int, bus: int, is_live: bool, wait_ns: int) -> int:  # noqa: ANN401
    wanted = of.EOS | of.ERROR | of.WARNING | of.BUFFERING | of.CLOCK_LOST | of.LATENCY | of.REQUEST_STATE
    while message := gst.gst_bus_timed_pop_filtered(bus, wait_ns, wanted):
        kind = message.contents.type
        if kind == of.EOS:
            return 0
        if kind in (of.ERROR, of.WARNING):
            _tell(gst, message, kind)
            if kind == of.ERROR:
                return 1
        elif kind == of.BUFFERING and not is_live:
            percent = c_int()
            gst.gst_message_parse_buffering(message, byref(percent))
            gst.gst_element_set_state(pipeline, of.PLAYING if percent.value >= 100 else of.PAUSED)
        elif kind == of.CLOCK_LOST:
            gst.gst_element_set_state(pipeline, of.PAUSED)
            gst.gst_element_set_state(pipeline, of.PLAYING)
        elif kind == of.LATENCY:
            gst.gst_bin_recalculate_latency(pipeline)
        elif kind == of.REQUEST_STATE:
            state = c_int()
            gst.gst_message_parse_request_state(message, byref(state))
            if state.value == of.NULL:  # an element asks for the end, as a window that was closed does
                return 0
        gst.gst_mini_object_unref(message)
    _say("ERROR", "the pipeline cannot be started")
    return 1


def _tell(gst: Any, message: Any, kind: int) -> None:  # noqa: ANN401
    problem, details = POINTER(Problem)(), c_char_p()
    parse = gst.gst_message_parse_error if kind == of.ERROR else gst.gst_message_parse_warning
    parse(message, byref(problem), byref(details))
    path = ctypes.cast(gst.gst_object_get_path_string(message.contents.origin), c_char_p).value or b""
    _say(
        "ERROR" if kind == of.ERROR else "WARNING",
        f"from element {path.decode('utf-8', 'replace')}: {_words_of(problem)}",
    )
    if details.value:
        sys.stderr.write(f"{details.value.decode('utf-8', 'replace')}\n")
        sys.stderr.flush()


def _words_of(problem: Any) -> str:  # noqa: ANN401
    return (problem.contents.message or b"").decode("utf-8", "replace") if problem else ""


def _say(kind: str, words: str) -> None:
    sys.stderr.write(f"{kind}: {' '.join(words.split())}\n")
    sys.stderr.flush()


def main() -> int:
    """Read the pipeline and run it."""
    words = read_message()
    ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME, 0, 0, 0)
    if len(sys.argv) == 1:
        counter = FrameCounter()
        code = run(words, counter.attach)
        counter.finish(has_ended=code == 0)
        return code
    from danet_runtime.gstreamer.picture_flow import PictureFlow  # and numpy with it, which no sink needs
    from danet_runtime.gstreamer.rtsp_hosts import keep_to

    fd = int(sys.argv[1])
    damaged: DamagePolicy = "mark" if sys.argv[2] == "mark" else "drop"
    hosts = sys.argv[3:]

    def attach(library: Library, pipeline: int) -> None:
        PictureFlow(library, fd, damaged).attach(pipeline)
        if hosts:
            keep_to(library, pipeline, hosts)

    return run(words, attach)


if __name__ == "__main__":
    sys.exit(main())
