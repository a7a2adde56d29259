"""What every test of the stream holds: it ends, and no thread is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle


@pytest.fixture(autouse=True)
def _guard(watchdog: Callable[[int], None]) -> Iterator[None]:
    watchdog(30)
    before = set(threading.enumerate())  # a thread that one test leaves must not fail those after it
    yield
    for _ in range(100):
        left = [
            thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("danet-")
        ]
        if not left:
            return
        time.sleep(0.01)
    pytest.fail(f"threads are left: {left}")


@pytest.fixture
def segmenter_with(bundle: Bundle) -> Callable[[Any], Segmenter]:
    return lambda backend: Segmenter(bundle, backend=backend)
