"""Sinks: where the results of a stream go."""

from danet_runtime.sinks.base import Sink, StreamFormat

__all__ = ["Sink", "StreamFormat"]
