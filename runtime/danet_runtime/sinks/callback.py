"""Results to a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.sink import StreamFormat


class CallbackSink:
    """Calls a function with every result, in the sink's thread.

    See :class:`danet_runtime.sinks.protocol.sink.Sink`.

    Args:
        function: Called with each result, whose arrays it may read until it returns. What it raises counts as
            a failed write.
        name: Name of the sink in health and reports.
    """

    def __init__(self, function: Callable[[Result], object], name: str = "callback") -> None:
        self.name = name
        self._function = function
        self._calls = 0

    def open(self, stream_format: StreamFormat) -> None:
        """Nothing is to be prepared."""

    def adopt(self, stream_format: StreamFormat) -> None:
        """Results of any size are taken."""

    def write(self, result: Result) -> None:
        """Call the function."""
        self._function(result)
        self._calls += 1

    def describe(self) -> dict[str, Any]:
        """The function's name and its calls that returned."""
        function = getattr(self._function, "__qualname__", type(self._function).__name__)
        return {"kind": "callback", "function": function, "frames": self._calls}

    def close(self) -> None:
        """Nothing is left to finish."""
