"""Keeps a client of RTSP to the hosts that it may ask, wherever a camera sends it on to."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from ctypes import CFUNCTYPE, byref, c_char_p, c_int, c_void_p
from typing import Any, Final
from urllib.parse import urlsplit

from danet_runtime.gstreamer.library import Library

ANY: Final = "*"
"""Stands for every host."""

_RTSP: Final = "libgstrtsp-1.0.so.0"
_DESCRIBE, _OPTIONS = 1 << 0, 1 << 3  # what a client says first to whom it was sent on to
_BEFORE_SEND = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)


def keep_to(library: Library, pipeline: int, hosts: Sequence[str]) -> None:
    """End this process with an error before an ``rtspsrc`` asks a host that is none of some.

    At most a connection is made, through which nothing is said. By itself it follows a redirection to any
    host, and shows what comes from there as the camera's. Requests for one of its streams are left alone:
    behind a translation of addresses a camera names its own inner one in them, and they go through the
    connection that there is.

    Args:
        library: GStreamer.
        pipeline: The pipeline that holds the RTSP sources.
        hosts: Names of the allowed hosts, in lower case; :data:`ANY` allows all.
    """
    parse: Any = ctypes.CDLL(_RTSP).gst_rtsp_message_parse_request
    parse.argtypes = (c_void_p, c_void_p, c_void_p, c_void_p)

    @_BEFORE_SEND  # type: ignore[untyped-decorator]
    def before(_source: int, message: int, _data: int) -> int:
        method, address, version = c_int(), c_char_p(), c_int()
        if parse(message, byref(method), byref(address), byref(version)) == 0:
            host = _host_of(address.value or b"")
            if method.value in (_DESCRIBE, _OPTIONS) and host not in hosts and ANY not in hosts:
                sys.stderr.write(
                    f"ERROR: the camera sends on to the host {host!r}, which is not followed; "
                    f"where that is right, add #hosts={host} to its address\n"
                )
                sys.stderr.flush()
                os._exit(1)
        return 1

    def guard(element: int) -> None:
        if library.class_of(element)[0] == "rtspsrc":
            library.connect(element, b"before-send", before)

    library.each_element(pipeline, guard)


def _host_of(address: bytes) -> str:
    try:
        return (urlsplit(address.decode("utf-8", "replace")).hostname or "").lower()
    except ValueError:
        return ""
