"""The child process that runs a GStreamer pipeline: what ``gst-launch-1.0 -q`` does, with nothing to see.

Started by :mod:`danet_runtime.children.start`, it reads the words of the pipeline from its standard input
(see :mod:`danet_runtime.children.lifeline`): ``gst-launch-1.0`` takes them as arguments, which every user of
the machine can read, with the passwords of cameras in them. It needs GStreamer's library alone, no bindings.
Exit codes: 0 the pipeline has ended by itself, 1 it failed; errors are said on standard error. So are, as
``COUNT n``, the buffers that have passed an element of the name :data:`COUNTER` and were taken by all behind
it: the one that is just being handed on is not among them.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint, c_uint64, c_void_p
from typing import Any, Final

from danet_runtime.children.lifeline import read_message

LIBRARY: Final = "libgstreamer-1.0.so.0"
COUNTER: Final = "danet-count"
_COUNT_EVERY_NS: Final = 100_000_000
_BUFFER_PROBE, _PROBE_OK = 1 << 4, 1
_NAME: Final = b"danet-gstreamer"
_PR_SET_NAME: Final = 15

# GstMessageType, GstState, GstStateChangeReturn: parts of the interface that GStreamer 1.x keeps.
_EOS, _ERROR, _WARNING, _BUFFERING, _CLOCK_LOST, _LATENCY = 1, 1 << 1, 1 << 2, 1 << 5, 1 << 10, 1 << 19
_REQUEST_STATE: Final = 1 << 22
_NULL, _PAUSED, _PLAYING = 1, 3, 4
_FAILURE, _NO_PREROLL = 0, 3
_FOR_EVER: Final = 2**64 - 1


_Probe = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)


class _Error(Structure):
    """``GError``."""

    _fields_ = (("domain", c_uint), ("code", c_int), ("message", c_char_p))


class _Message(Structure):
    """The beginning of ``GstMessage``: a ``GstMiniObject``, its type, time and origin."""

    _fields_ = (
        ("gtype", ctypes.c_size_t),
        ("refcount", c_int),
        ("lockstate", c_int),
        ("flags", c_uint),
        ("copy", c_void_p),
        ("dispose", c_void_p),
        ("free", c_void_p),
        ("priv_uint", c_uint),
        ("priv_pointer", c_void_p),
        ("type", c_uint),
        ("timestamp", c_uint64),
        ("origin", c_void_p),
    )


def _library() -> Any:  # noqa: ANN401 - functions of a C library
    gst = ctypes.CDLL(LIBRARY)
    for name, result, arguments in (
        ("gst_init", None, (c_void_p, c_void_p)),
        ("gst_parse_launchv", c_void_p, (POINTER(c_char_p), POINTER(POINTER(_Error)))),
        ("gst_element_set_state", c_int, (c_void_p, c_int)),
        ("gst_element_get_bus", c_void_p, (c_void_p,)),
        ("gst_bus_timed_pop_filtered", POINTER(_Message), (c_void_p, c_uint64, c_uint)),
        ("gst_message_parse_error", None, (c_void_p, POINTER(POINTER(_Error)), POINTER(c_char_p))),
        ("gst_message_parse_warning", None, (c_void_p, POINTER(POINTER(_Error)), POINTER(c_char_p))),
        ("gst_message_parse_buffering", None, (c_void_p, POINTER(c_int))),
        ("gst_message_parse_request_state", None, (c_void_p, POINTER(c_int))),
        ("gst_object_get_path_string", c_void_p, (c_void_p,)),
        ("gst_bin_recalculate_latency", c_int, (c_void_p,)),
        ("gst_bin_get_by_name", c_void_p, (c_void_p, c_char_p)),
        ("gst_element_get_static_pad", c_void_p, (c_void_p, c_char_p)),
        ("gst_pad_add_probe", ctypes.c_ulong, (c_void_p, c_int, _Probe, c_void_p, c_void_p)),
        ("gst_mini_object_unref", None, (c_void_p,)),
    ):
        function = getattr(gst, name)
        function.restype, function.argtypes = result, arguments
    return gst


def run(words: list[str]) -> int:
    """Run a pipeline to its end.

    Args:
        words: As a shell would give them to ``gst-launch-1.0``.

    Returns:
        The exit code.
    """
    try:
        gst = _library()
    except OSError as error:
        _say("ERROR", f"GStreamer's library cannot be loaded: {error}")
        return 1
    gst.gst_init(None, None)
    problem = POINTER(_Error)()
    given = (c_char_p * (len(words) + 1))(*[word.encode() for word in words], None)
    pipeline = gst.gst_parse_launchv(given, byref(problem))
    if not pipeline or problem:
        _say("ERROR", f"the pipeline cannot be built: {_words_of(problem) or 'it is empty'}")
        return 1
    counter = _Counter(gst, pipeline) if any(COUNTER in word for word in words) else None
    bus = gst.gst_element_get_bus(pipeline)
    started = gst.gst_element_set_state(pipeline, _PAUSED)
    is_live = started == _NO_PREROLL
    if started != _FAILURE:
        started = gst.gst_element_set_state(pipeline, _PLAYING)
    # Where it failed, the element that it failed in has left an error on the bus.
    code = _follow(gst, pipeline, bus, is_live, 1_000_000_000 if started == _FAILURE else _FOR_EVER, counter)
    if counter is not None:
        counter.tell(has_ended=code == 0)
    gst.gst_element_set_state(pipeline, _NULL)
    return code


class _Counter:
    """Counts the buffers that pass one element and were taken by all behind it."""

    def __init__(self, gst: Any, pipeline: int) -> None:  # noqa: ANN401
        self._passed = 0
        self._told = -1
        self._probe = _Probe(self._note)  # kept: C calls it
        pad = gst.gst_element_get_static_pad(gst.gst_bin_get_by_name(pipeline, COUNTER.encode()), b"src")
        gst.gst_pad_add_probe(pad, _BUFFER_PROBE, self._probe, None, None)

    def _note(self, _pad: int, _info: int, _data: int) -> int:
        self._passed += 1
        return _PROBE_OK

    def tell(self, *, has_ended: bool) -> None:
        """Say the count, where it has changed; at the end of the stream the last one has been taken, too."""
        taken = self._passed if has_ended else max(0, self._passed - 1)
        if taken != self._told:
            self._told = taken
            _say("COUNT", str(taken), after="")


def _follow(
    gst: Any,  # noqa: ANN401
    pipeline: int,
    bus: int,
    is_live: bool,
    wait_ns: int,
    counter: _Counter | None,
) -> int:
    wanted = _EOS | _ERROR | _WARNING | _BUFFERING | _CLOCK_LOST | _LATENCY | _REQUEST_STATE
    is_counting = counter is not None and wait_ns == _FOR_EVER
    while True:
        message = gst.gst_bus_timed_pop_filtered(bus, _COUNT_EVERY_NS if is_counting else wait_ns, wanted)
        if is_counting and counter is not None:
            counter.tell(has_ended=False)
        if not message:
            if is_counting:
                continue
            break
        kind = message.contents.type
        if kind == _EOS:
            return 0
        if kind in (_ERROR, _WARNING):
            _tell(gst, message, kind)
            if kind == _ERROR:
                return 1
        elif kind == _BUFFERING and not is_live:
            percent = c_int()
            gst.gst_message_parse_buffering(message, byref(percent))
            gst.gst_element_set_state(pipeline, _PLAYING if percent.value >= 100 else _PAUSED)
        elif kind == _CLOCK_LOST:
            gst.gst_element_set_state(pipeline, _PAUSED)
            gst.gst_element_set_state(pipeline, _PLAYING)
        elif kind == _LATENCY:
            gst.gst_bin_recalculate_latency(pipeline)
        elif kind == _REQUEST_STATE:
            state = c_int()
            gst.gst_message_parse_request_state(message, byref(state))
            if state.value == _NULL:  # an element asks for the end, as a window that was closed does
                return 0
        gst.gst_mini_object_unref(message)
    _say("ERROR", "the pipeline cannot be started")
    return 1


def _tell(gst: Any, message: Any, kind: int) -> None:  # noqa: ANN401
    problem, details = POINTER(_Error)(), c_char_p()
    parse = gst.gst_message_parse_error if kind == _ERROR else gst.gst_message_parse_warning
    parse(message, byref(problem), byref(details))
    path = ctypes.cast(gst.gst_object_get_path_string(message.contents.origin), c_char_p).value or b""
    _say(
        "ERROR" if kind == _ERROR else "WARNING",
        f"from element {path.decode('utf-8', 'replace')}: {_words_of(problem)}",
    )
    if details.value:
        sys.stderr.write(f"{details.value.decode('utf-8', 'replace')}\n")
        sys.stderr.flush()


def _words_of(problem: Any) -> str:  # noqa: ANN401
    return (problem.contents.message or b"").decode("utf-8", "replace") if problem else ""


def _say(kind: str, words: str, after: str = ":") -> None:
    sys.stderr.write(f"{kind}{after} {' '.join(words.split())}\n")
    sys.stderr.flush()


def main() -> int:
    """Read the pipeline and run it."""
    words = read_message()
    ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME, 0, 0, 0)
    return run(words)


if __name__ == "__main__":
    sys.exit(main())
