"""The format of a small stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.sinks import StreamFormat


@pytest.fixture
def stream_format(bundle: Bundle) -> Callable[..., StreamFormat]:
    segmenter = Segmenter(bundle)

    def make(size_hw: tuple[int, int] = (48, 64), fps: float | None = 25.0) -> StreamFormat:
        return StreamFormat(size_hw, fps, segmenter.classes, segmenter.palette)

    return make


@pytest.fixture
def segmenter_with(bundle: Bundle) -> Callable[[Any], Segmenter]:
    return lambda backend: Segmenter(bundle, backend=backend)
