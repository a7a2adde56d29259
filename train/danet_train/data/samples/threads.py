"""Read many files in threads: decoders, zlib and the disk let other threads run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_MOST_THREADS: Final = 8
_AT_ONCE: Final = 8  # jobs of a thread, so that an error ends the work soon

Job = TypeVar("Job")
Done = TypeVar("Done")


def in_threads(work: Callable[[Job], Done], jobs: Sequence[Job]) -> Iterator[Done]:
    """Yield the result of each job, in their order.

    Args:
        work: Does one job; called from several threads.
        jobs: The jobs.

    Raises:
        Exception: Whatever a job raises; later jobs are then not begun, but for a few.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(jobs), _AT_ONCE * threads):
            yield from pool.map(work, jobs[first : first + _AT_ONCE * threads])
