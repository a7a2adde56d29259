"""Backends of the stream for tests of what feeds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle


@pytest.fixture
def segmenter_with(bundle: Bundle) -> Callable[[Any], Segmenter]:
    return lambda backend: Segmenter(bundle, backend=backend)
