"""Sources of frames, and how a text names one."""

from __future__ import annotations

from danet_runtime.sources.protocol.source import FrameInfo, Source
from danet_runtime.sources.registry import SOURCES, open_source

__all__ = ["SOURCES", "FrameInfo", "Source", "open_source"]
