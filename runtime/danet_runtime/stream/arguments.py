"""Checks that the arguments of a stream fit together, before anything is opened."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from danet_runtime.errors import UsageError
from danet_runtime.frames.pixel_formats import BGR, pixels_of
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.sinks.protocol.sink import Sink
from danet_runtime.sources import open_source
from danet_runtime.sources.protocol.source import Source
from danet_runtime.stream.pipeline.camera import Camera
from danet_runtime.stream.state.options import StreamOptions
from danet_runtime.stream.state.slots import Policy

logger = logging.getLogger(__name__)


SINGLE = "source"
"""Name of a stream's only camera where the caller gave none."""


SourceOrName: TypeAlias = Source | str | Path
"""An open source, or the text that names one."""


@contextmanager
def opened_sources(
    sources: SourceOrName | Mapping[str, SourceOrName], segmenters: Segmenter | Sequence[Segmenter]
) -> Iterator[Source | Mapping[str, Source]]:
    """Open the sources that are named by a text; they are closed again where the block raises.

    Args:
        sources: Sources of a stream.
        segmenters: Its models; the first says in which pixel format frames are best delivered.

    Raises:
        UsageError: A text names no source.
        SourceError: A source cannot be read.
    """
    models = [segmenters] if isinstance(segmenters, Segmenter) else segmenters
    pixels = models[0].pixels if models else BGR
    made: list[Source] = []

    def opened(source: SourceOrName) -> Source:
        if not isinstance(source, (str, Path)):
            return source
        made.append(open_source(source, pixels=pixels))
        return made[-1]

    try:
        if isinstance(sources, Mapping):
            yield {name: opened(source) for name, source in sources.items()}
        else:
            yield opened(sources)
    except BaseException:
        for source in made:
            source.close()
        raise


def cameras_of(
    sources: Source | Mapping[str, Source],
    sinks: Sequence[Sink] | Mapping[str, Sequence[Sink]],
    policy: Policy | None,
    max_frames: int | None,
) -> list[Camera]:
    """The cameras of a stream; the arguments are those of :class:`danet_runtime.Stream`.

    Raises:
        UsageError: They contradict each other.
    """
    if policy not in (None, "every", "latest"):
        raise UsageError(f"policy must be 'every' or 'latest' (got {policy!r})")
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"max_frames must be at least 1 (got {max_frames})")
    named = dict(sources) if isinstance(sources, Mapping) else {SINGLE: sources}
    given = dict(sinks) if isinstance(sinks, Mapping) else dict.fromkeys(list(named)[:1], sinks)
    unknown = set(given) - set(named)
    if named and unknown:
        raise UsageError(f"there are sinks for {sorted(unknown)}, but cameras only {sorted(named)}")
    return [
        Camera(
            number,
            name,
            source,
            list(given.get(name, ())),
            policy or ("latest" if source.live else "every"),
            max_frames,
        )
        for number, (name, source) in enumerate(named.items())
    ]


def check_models(segmenters: Sequence[Segmenter], cameras: Sequence[Camera], options: StreamOptions) -> None:
    """Refuse models that do not go together, or not with the cameras.

    Raises:
        UsageError: They do not.
    """
    if not segmenters or not cameras:
        raise UsageError("a stream needs at least one segmenter and one source")
    if len(segmenters) > 1 and options.deadline_ms is None:
        raise UsageError("several models need a deadline to choose by; give deadline_ms")
    names = {tuple(entry.name for entry in segmenter.classes) for segmenter in segmenters}
    if len(names) > 1:
        raise UsageError("the models of a stream must have the same classes in the same order")
    for camera in cameras:
        check_frames(segmenters, camera.name, camera.source)


def check_frames(segmenters: Sequence[Segmenter], name: str, source: Source) -> None:
    """Refuse a source whose frames one of the models does not take.

    Raises:
        UsageError: It does not.
    """
    for segmenter in segmenters:
        _check_pixels(name, source, segmenter)


def _check_pixels(name: str, source: Source, segmenter: Segmenter) -> None:
    """BGR fits every model; another format only a model of the same format and size."""
    pixels = pixels_of(source)
    if pixels.format == "bgr":
        return
    height, width = segmenter.frame_size_hw
    if pixels.format != segmenter.pixels.format or source.size_hw != segmenter.frame_size_hw:
        raise UsageError(
            f"{name} gives {pixels.format} of {source.size_hw[0]}x{source.size_hw[1]}, the bundle "
            f"{segmenter.bundle.path} takes {segmenter.pixels.format} of {height}x{width}: only BGR frames "
            "are resized and converted on the host. Open the source without a pixel format, or export for "
            f"--frame-size {source.size_hw[0]}x{source.size_hw[1]} --pixel-format {pixels.format}"
        )
    if pixels != segmenter.pixels:
        logger.warning(
            "%s gives %s, the bundle %s was exported for %s: colors will be off; export it with "
            "--color %s --range %s",
            name,
            pixels,
            segmenter.bundle.path,
            segmenter.pixels,
            pixels.color,
            pixels.range,
        )
