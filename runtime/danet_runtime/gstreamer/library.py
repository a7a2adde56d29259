"""As much of GStreamer's library as the children here need, by ctypes: no bindings have to be installed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_size_t,
    c_uint,
    c_uint64,
    c_ulong,
    c_void_p,
)
from typing import Any, Final

GSTREAMER: Final = "libgstreamer-1.0.so.0"
GOBJECT: Final = "libgobject-2.0.so.0"

# All of these are parts of the interface that GStreamer 1.x keeps.
EOS, ERROR, WARNING, BUFFERING, CLOCK_LOST, LATENCY = 1, 1 << 1, 1 << 2, 1 << 5, 1 << 10, 1 << 19
REQUEST_STATE: Final = 1 << 22
NULL, PAUSED, PLAYING = 1, 3, 4
FAILURE, NO_PREROLL = 0, 3
FOR_EVER: Final = 2**64 - 1
NO_TIME: Final = 2**64 - 1
DISCONT, CORRUPTED, DELTA_UNIT = 1 << 6, 1 << 8, 1 << 13
PROBE_BUFFER, PROBE_BUFFER_LIST, PROBE_EVENT = 1 << 4, 1 << 5, 1 << 6
PROBE_DROP, PROBE_OK = 0, 1
CAPS_EVENT: Final = 12814
_UPSTREAM_EVENT: Final = 69121
_KEY_UNIT: Final = (
    b"GstForceKeyUnit, running-time=(guint64)18446744073709551615, all-headers=(boolean)true, count=(uint)0"
)


class Problem(Structure):
    """``GError``."""

    _fields_ = (("domain", c_uint), ("code", c_int), ("message", c_char_p))


_MINI_OBJECT = (
    ("gtype", c_size_t),
    ("refcount", c_int),
    ("lockstate", c_int),
    ("flags", c_uint),
    ("copy", c_void_p),
    ("dispose", c_void_p),
    ("free", c_void_p),
    ("priv_uint", c_uint),
    ("priv_pointer", c_void_p),
)


class Message(Structure):
    """The beginning of ``GstMessage``: its type, time and origin."""

    _fields_ = (*_MINI_OBJECT, ("type", c_uint), ("timestamp", c_uint64), ("origin", c_void_p))


class Buffer(Structure):
    """The beginning of ``GstBuffer``."""

    _fields_ = (*_MINI_OBJECT, ("pool", c_void_p), ("pts", c_uint64), ("dts", c_uint64))


class Event(Structure):
    """The beginning of ``GstEvent``."""

    _fields_ = (*_MINI_OBJECT, ("type", c_uint))


class Mapping(Structure):
    """``GstMapInfo``."""

    _fields_ = (
        ("memory", c_void_p),
        ("flags", c_uint),
        ("data", c_void_p),
        ("size", c_size_t),
        ("maxsize", c_size_t),
        ("user_data", c_void_p * 4),
        ("reserved", c_void_p * 4),
    )


class ProbeInfo(Structure):
    """The beginning of ``GstPadProbeInfo``."""

    _fields_ = (("type", c_uint), ("id", c_ulong), ("data", c_void_p))


_PROBE = CFUNCTYPE(c_int, c_void_p, POINTER(ProbeInfo), c_void_p)
_EACH = CFUNCTYPE(None, c_void_p, c_void_p)
_ADDED = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_void_p)
_PAD_ADDED = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)

_FUNCTIONS: Final = (
    ("gst_init", None, (c_void_p, c_void_p)),
    ("gst_parse_launchv", c_void_p, (POINTER(c_char_p), POINTER(POINTER(Problem)))),
    ("gst_element_set_state", c_int, (c_void_p, c_int)),
    ("gst_element_get_bus", c_void_p, (c_void_p,)),
    ("gst_element_get_base_time", c_uint64, (c_void_p,)),
    ("gst_element_get_clock", c_void_p, (c_void_p,)),
    ("gst_clock_get_time", c_uint64, (c_void_p,)),
    ("gst_element_get_factory", c_void_p, (c_void_p,)),
    ("gst_element_factory_get_metadata", c_char_p, (c_void_p, c_char_p)),
    ("gst_element_get_static_pad", c_void_p, (c_void_p, c_char_p)),
    ("gst_bus_timed_pop_filtered", POINTER(Message), (c_void_p, c_uint64, c_uint)),
    ("gst_message_parse_error", None, (c_void_p, POINTER(POINTER(Problem)), POINTER(c_char_p))),
    ("gst_message_parse_warning", None, (c_void_p, POINTER(POINTER(Problem)), POINTER(c_char_p))),
    ("gst_message_parse_buffering", None, (c_void_p, POINTER(c_int))),
    ("gst_message_parse_request_state", None, (c_void_p, POINTER(c_int))),
    ("gst_object_get_path_string", c_void_p, (c_void_p,)),
    ("gst_object_get_name", c_void_p, (c_void_p,)),
    ("gst_object_unref", None, (c_void_p,)),
    ("gst_bin_recalculate_latency", c_int, (c_void_p,)),
    ("gst_bin_get_by_name", c_void_p, (c_void_p, c_char_p)),
    ("gst_bin_iterate_recurse", c_void_p, (c_void_p,)),
    ("gst_iterator_foreach", c_int, (c_void_p, _EACH, c_void_p)),
    ("gst_iterator_free", None, (c_void_p,)),
    ("gst_mini_object_unref", None, (c_void_p,)),
    ("gst_util_set_object_arg", None, (c_void_p, c_char_p, c_char_p)),
    ("gst_pad_add_probe", c_ulong, (c_void_p, c_uint, _PROBE, c_void_p, c_void_p)),
    ("gst_pad_get_current_caps", c_void_p, (c_void_p,)),
    ("gst_pad_push_event", c_int, (c_void_p, c_void_p)),
    ("gst_caps_to_string", c_void_p, (c_void_p,)),
    ("gst_event_parse_caps", None, (c_void_p, POINTER(c_void_p))),
    ("gst_event_new_custom", c_void_p, (c_uint, c_void_p)),
    ("gst_structure_from_string", c_void_p, (c_char_p, c_void_p)),
    ("gst_buffer_extract", c_size_t, (c_void_p, c_size_t, c_void_p, c_size_t)),
    ("gst_buffer_map", c_int, (c_void_p, POINTER(Mapping), c_uint)),
    ("gst_buffer_unmap", None, (c_void_p, POINTER(Mapping))),
    ("gst_buffer_list_length", c_uint, (c_void_p,)),
    ("gst_buffer_list_get", c_void_p, (c_void_p, c_uint)),
)


class Library:
    """GStreamer, initialised.

    Args of most methods are addresses of its objects.

    Raises:
        OSError: It is not installed.

    Attributes:
        gst: Its functions.
    """

    def __init__(self) -> None:
        self.gst: Any = ctypes.CDLL(GSTREAMER)
        self._gobject: Any = ctypes.CDLL(GOBJECT)
        for name, result, arguments in _FUNCTIONS:
            function = getattr(self.gst, name)
            function.restype, function.argtypes = result, arguments
        self._gobject.g_signal_connect_data.restype = c_ulong
        self._gobject.g_signal_connect_data.argtypes = (
            c_void_p,
            c_char_p,
            c_void_p,
            c_void_p,
            c_void_p,
            c_int,
        )
        self._gobject.g_value_get_object.restype = c_void_p
        self._gobject.g_value_get_object.argtypes = (c_void_p,)
        self._gobject.g_object_get.restype = None
        self._free = ctypes.CDLL("libglib-2.0.so.0").g_free
        self._free.argtypes = (c_void_p,)
        self._kept: list[Any] = []  # what is called back must not be collected
        self.gst.gst_init(None, None)

    def text(self, address: int | None) -> str:
        """A string of the library's, which is freed."""
        if not address:
            return ""
        words = ctypes.string_at(address).decode("utf-8", "replace")
        self._free(address)
        return words

    def class_of(self, element: int) -> tuple[str, str]:
        """The name of an element's factory and what it is, such as ``Codec/Decoder/Video``."""
        factory = self.gst.gst_element_get_factory(element)
        if not factory:
            return "", ""
        name = self.text(self.gst.gst_object_get_name(factory))
        return name, (self.gst.gst_element_factory_get_metadata(factory, b"klass") or b"").decode()

    def running_time(self, pipeline: int) -> int:
        """For how long a pipeline has played; ``NO_TIME`` where it does not yet."""
        base = self.gst.gst_element_get_base_time(pipeline)
        clock = self.gst.gst_element_get_clock(pipeline)
        if not clock:
            return NO_TIME
        now = self.gst.gst_clock_get_time(clock)
        self.gst.gst_object_unref(clock)
        return int(now - base) if base else NO_TIME

    def set(self, element: int, name: str, value: str) -> None:
        """Set a property, where the element has it."""
        self.gst.gst_util_set_object_arg(element, name.encode(), value.encode())

    def socket_of(self, element: int) -> int | None:
        """The file descriptor of the socket that a source of datagrams has opened already; it keeps it."""
        found = c_void_p()
        self._gobject.g_object_get(c_void_p(element), b"used-socket", byref(found), None)
        if not found:
            return None
        fd_of = ctypes.CDLL("libgio-2.0.so.0").g_socket_get_fd
        fd_of.argtypes = (c_void_p,)
        fd = int(fd_of(found))
        self.gst.gst_object_unref(found)
        return fd

    def caps_of(self, pad: int) -> str:
        """Return the caps of a pad at the moment, as text."""
        return self._caps_text(self.gst.gst_pad_get_current_caps(pad))

    def caps_in(self, event: int) -> str:
        """Return the caps of a caps event, as text; the event still owns them."""
        caps = c_void_p()
        self.gst.gst_event_parse_caps(event, byref(caps))
        return self.text(self.gst.gst_caps_to_string(caps))

    def _caps_text(self, caps: int | None) -> str:
        if not caps:
            return ""
        words = self.text(self.gst.gst_caps_to_string(caps))
        self.gst.gst_mini_object_unref(caps)
        return words

    def each_element(self, pipeline: int, call: Callable[[int], None]) -> None:
        """Call with every element that is in a pipeline or comes into it, before it is used."""
        gobject = self._gobject

        @_ADDED  # type: ignore[untyped-decorator]
        def added(_bin: int, _inner: int, element: int, _data: int) -> None:
            call(element)

        @_EACH  # type: ignore[untyped-decorator]
        def found(value: int, _data: int) -> None:
            call(gobject.g_value_get_object(value))

        self.connect(pipeline, b"deep-element-added", added)
        elements = self.gst.gst_bin_iterate_recurse(pipeline)
        self.gst.gst_iterator_foreach(elements, found, None)
        self.gst.gst_iterator_free(elements)

    def each_pad(self, element: int, call: Callable[[int], None]) -> None:
        """Call with every pad that an element will have."""

        @_PAD_ADDED  # type: ignore[untyped-decorator]
        def added(_element: int, pad: int, _data: int) -> None:
            call(pad)

        self.connect(element, b"pad-added", added)

    def connect(self, target: int, signal: bytes, callback: Any) -> None:  # noqa: ANN401 - of ctypes
        """Call back from an object's signal."""
        self._kept.append(callback)
        self._gobject.g_signal_connect_data(target, signal, ctypes.cast(callback, c_void_p), None, None, 0)

    def probe(self, pad: int, kinds: int, call: Callable[[ProbeInfo], int]) -> None:
        """Call with all of some kinds that passes a pad; it returns ``PROBE_OK`` or ``PROBE_DROP``."""

        @_PROBE  # type: ignore[untyped-decorator]
        def probed(_pad: int, info: Any, _data: int) -> int:  # noqa: ANN401 - a pointer of ctypes
            return call(info.contents)

        self._kept.append(probed)
        self.gst.gst_pad_add_probe(pad, kinds, probed, None, None)

    def buffers(self, info: ProbeInfo) -> list[int]:
        """Those of a probe on buffers and lists of them."""
        if info.type & PROBE_BUFFER:
            return [info.data]
        count = self.gst.gst_buffer_list_length(info.data)
        return [self.gst.gst_buffer_list_get(info.data, index) for index in range(count)]

    def beginning(self, buffer: int, most: int) -> bytes:
        """The first bytes of a buffer."""
        data = ctypes.create_string_buffer(most)
        count = self.gst.gst_buffer_extract(buffer, 0, data, most)
        return ctypes.string_at(data, count)

    def ask_for_key_frame(self, pad: int) -> None:
        """Send the request from a sink pad up to where the stream comes from."""
        request = self.gst.gst_event_new_custom(
            _UPSTREAM_EVENT, self.gst.gst_structure_from_string(_KEY_UNIT, None)
        )
        self.gst.gst_pad_push_event(pad, request)
