"""Sinks: where the results of a stream go, and how a text names one."""

from __future__ import annotations

from danet_runtime.sinks.callback import CallbackSink
from danet_runtime.sinks.protocol.sink import Sink, StreamFormat
from danet_runtime.sinks.registry import SINKS, SinkTarget, open_sink, sink_target
from danet_runtime.sinks.shared.memory import SharedMaskReader

__all__ = [
    "SINKS",
    "CallbackSink",
    "SharedMaskReader",
    "Sink",
    "SinkTarget",
    "StreamFormat",
    "open_sink",
    "sink_target",
]
