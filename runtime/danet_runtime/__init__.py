"""DANet Edge runtime: a bundle becomes an engine on this device and a real-time segmentation stream.

Importing this package needs numpy alone; everything else is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danet_runtime.bundle.reader import Bundle
    from danet_runtime.errors import DanetError
    from danet_runtime.inference.segmenter import Segmenter
    from danet_runtime.stream.state.options import StreamOptions
    from danet_runtime.stream.stream import Stream

__all__ = ["Bundle", "DanetError", "Segmenter", "Stream", "StreamOptions"]

_HOMES = {
    "Bundle": "danet_runtime.bundle.reader",
    "DanetError": "danet_runtime.errors",
    "Segmenter": "danet_runtime.inference.segmenter",
    "Stream": "danet_runtime.stream.stream",
    "StreamOptions": "danet_runtime.stream.state.options",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whichever public name was asked for
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)
