"""Two ways to run one bundle on the same frames; :mod:`danet_runtime.comparison.labels` counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from danet_runtime.backends.base import Backend
from danet_runtime.backends.registry import backends, find_backend
from danet_runtime.backends.statement import BackendStatement, BackendWanted, EngineStatement
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.comparison.labels import LabelComparison
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.sources.protocol.source import FrameInfo, Source


class Side(NamedTuple):
    """One side of a comparison: a backend and a variant of the bundle, written ``onnxruntime:int8``."""

    backend: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.backend}:{self.precision}"


def parse_side(text: str, option: str) -> Side:
    """Read ``BACKEND:PRECISION``.

    Raises:
        UsageError: It is anything else, or there is no such backend.
    """
    backend, _, wanted = text.partition(":")
    for precision in get_args(Precision):
        if backend and wanted == precision:
            try:
                find_backend(backend, compared=True)
            except UsageError as error:
                raise UsageError(f"{option}: {error}") from None
            return Side(backend, precision)
    raise UsageError(
        f"{option} must be BACKEND:PRECISION with {', '.join(get_args(Precision))}, for example "
        f"onnxruntime:int8 (got {text!r})"
    )


@dataclass(frozen=True)
class SideOptions:
    """Settings for opening the two sides.

    Attributes:
        threads: CPU threads of one inference, for the sides that run on onnxruntime.
        engine_folder: Folder of TensorRT's engines; by default the user's cache.
    """

    threads: int | None = None
    engine_folder: Path | None = None


@dataclass(frozen=True)
class Compared:
    """Result of a comparison.

    Attributes:
        labels: The counts.
        backends: Descriptions of the backends of A and B.
        palette: (256, 3) uint8 BGR, one color a label.
    """

    labels: LabelComparison
    backends: tuple[dict[str, Any], dict[str, Any]]
    palette: UInt8Array


def compare(
    bundle: Bundle,
    sides: tuple[Side, Side],
    source: Source,
    *,
    frames: int | None = None,
    worst: int = 5,
    options: SideOptions | None = None,
    on_frame: Callable[[int], None] = lambda _done: None,
) -> Compared:
    """Run two sides over the same frames.

    Args:
        bundle: Bundle with the variants of both sides.
        sides: A and B.
        source: Read from here to its end, or to the last frame that is taken; the caller closes it.
        frames: Number of frames to compare, evenly spread over a source that knows its length, else the first
            ones; ``None`` compares all.
        worst: Number of frames with the least agreement to keep, with their pixels.
        options: Settings for opening the sides; the defaults if not given.
        on_frame: Called after each compared frame with the number of frames that are done.

    Raises:
        UsageError: The bundle does not hold a precision, no backend has a name, or the source is a live one.
        BackendError: A side cannot be loaded or failed, or gave labels that are no classes.
        SourceError: The source cannot be read, or gave no frame.
        MissingDependencyError: A backend's package is not installed.
    """
    if source.live:
        raise UsageError("a camera never ends and never repeats; compare on a video or on pictures")
    options = options or SideOptions()
    if options.threads is not None and not any(_statement(side).takes_threads for side in sides):
        counted = [name for name, kind in backends(compared=True).items() if kind.statement.takes_threads]
        raise UsageError(
            f"neither {sides[0]} nor {sides[1]} runs on {' or '.join(counted)}; leave --threads out"
        )
    labels = LabelComparison(bundle.manifest.classes, worst)
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(Segmenter(bundle, side.precision, _open(bundle, side, options)))
            for side in sides
        )
        labels_a = np.empty(source.size_hw, np.uint8)
        labels_b = np.empty(source.size_hw, np.uint8)
        for info, frame in _chosen(source, frames):
            one.infer_into(frame, labels_a)
            other.infer_into(frame, labels_b)
            labels.add(info, frame, labels_a, labels_b)
            on_frame(labels.frames)
        if not labels.frames:
            raise SourceError(f"{source.describe().get('path')} gave no frame; nothing was compared")
        return Compared(labels, (one.backend.describe(), other.backend.describe()), one.palette)


def _open(bundle: Bundle, side: Side, options: SideOptions) -> Backend:
    stated = _statement(side)
    wanted = BackendWanted(
        options.threads if stated.takes_threads else None,
        options.engine_folder if isinstance(stated, EngineStatement) else None,
    )
    return find_backend(side.backend, compared=True).opened(bundle, side.precision, wanted)


def _statement(side: Side) -> BackendStatement:
    return find_backend(side.backend, compared=True).statement


def evenly(count: int, wanted: int) -> list[int]:
    """Positions of at most ``wanted`` of ``count`` things, evenly spread, the last of all among them."""
    wanted = min(count, wanted)
    return [(place + 1) * count // wanted - 1 for place in range(wanted)]


def _chosen(source: Source, wanted: int | None) -> Iterator[tuple[FrameInfo, UInt8Array]]:
    """The frames that are compared, each in the same buffer."""
    frame = np.empty((*source.size_hw, 3), np.uint8)
    if wanted is None or source.count is None:
        places: Iterable[int] = itertools.count() if wanted is None else range(wanted)
    else:
        places = evenly(source.count, wanted)
    read = 0
    for place in places:
        info = None
        while read <= place:
            info = source.read_into(frame)
            if info is None:
                return
            read += 1
        if info is not None:
            yield info, frame
