"""The blocks that are made: where each stands, of what, and how it is put there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.places import GPU_RESULTS, PRETRAINED, REPOSITORY, RESULTS
from benchmarks.tables import (
    calibration,
    configuration,
    demo,
    engines,
    gpu,
    kernel_bounds,
    models,
    overlays,
    sources_and_sinks,
    stream,
    summary,
    training,
)


@dataclass(frozen=True)
class Block:
    """The text between two markers of a document.

    Attributes:
        name: In the markers.
        document: By its path in the repository.
        make: Its text, from a folder of results.
        results: The folder; for the networks that ship, theirs.
    """

    name: str
    document: str
    make: Callable[[Path], str]
    results: Path = RESULTS

    @property
    def markers(self) -> tuple[str, str]:
        """The lines before and after it."""
        return f"<!-- made by benchmarks.tables, {self.name}: begin -->", f"<!-- {self.name}: end -->"


BLOCKS = (
    Block("summary", "README.md", summary.block),
    Block("pretrained", "README.md", models.readme, PRETRAINED),
    Block("models", "docs/models.md", models.block, PRETRAINED),
    Block("demo", "docs/demo.md", demo.outcome),
    Block("demo classes", "docs/demo.md", demo.classes),
    Block("training", "docs/training.md", training.block),
    Block("activation memory", "docs/attention.md", engines.activation_memory),
    Block("kernels", "docs/attention.md", engines.kernels),
    Block("kernel bounds", "docs/attention.md", kernel_bounds.bounds),
    Block("assemblers", "docs/attention.md", kernel_bounds.assemblers),
    Block("roofline", "docs/attention.md", kernel_bounds.roofline),
    Block("gpu", "docs/attention.md", gpu.block, GPU_RESULTS),
    Block("int8", "docs/int8.md", calibration.block),
    Block("stream", "docs/latency.md", stream.block),
    Block("video reading", "docs/stream.md", sources_and_sinks.video_reading),
    Block("cameras", "docs/stream.md", sources_and_sinks.cameras),
    Block("training configuration", "docs/configuration.md", configuration.training),
    Block("stream options", "docs/configuration.md", configuration.stream),
    Block("flushing", "docs/stream.md", sources_and_sinks.flushing),
    Block("copies", "docs/stream.md", overlays.copies),
    Block("overlays", "docs/stream.md", overlays.block),
)


def with_block(text: str, made: str, markers: tuple[str, str]) -> str:
    """A document with the text between two markers exchanged.

    Raises:
        SystemExit: It does not hold each marker once, in order.
    """
    before, begin, rest = text.partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not begin or not end or markers[0] in rest or markers[1] in before + after:
        raise SystemExit(f"expected each of the markers {' and '.join(markers)} once")
    return f"{before}{markers[0]}\n{made}\n{markers[1]}{after}"


def documents(blocks: Iterable[Block] = BLOCKS, root: Path = REPOSITORY) -> dict[Path, tuple[str, str]]:
    """Each document that holds blocks: what it says, and what it should.

    Raises:
        SystemExit: A block's markers are not there, or twice; the document is named.
    """
    texts: dict[Path, tuple[str, str]] = {}
    for block in blocks:
        path = root / block.document
        text, wanted = texts.get(path) or (path.read_text(encoding="utf-8"),) * 2
        try:
            texts[path] = (text, with_block(wanted, block.make(block.results), block.markers))
        except SystemExit as error:
            raise SystemExit(f"{block.document}: {error}") from None
    return texts
