"""What the simulated driver deals in: results, operations in a queue, events and graphs."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

PRIMARY = 64
"""The primary context's number."""


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


@dataclass
class Operation:
    """One thing in a stream's queue."""

    run: Callable[[], object]
    ready: Callable[[], bool] = lambda: True


@dataclass
class Event:
    recorded: int = 0  # how often it was recorded, and how often that was reached
    reached: int = 0
    at: int = 0
    context: int = PRIMARY


@dataclass
class Graph:
    runs: list[Callable[[], object]] = field(default_factory=list)
