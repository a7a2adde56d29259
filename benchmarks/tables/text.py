"""How figures are told: tables, paragraphs, units, machines."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

WIDTH = 115

Document = Mapping[str, Any]


def read(results: Path, name: str) -> Document | None:
    """The results of one benchmark; None where it was not run."""
    file = results / f"{name}.json"
    if not file.is_file():
        return None
    document: Document = json.loads(file.read_text(encoding="utf-8"))
    return document


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; all columns but the first two to the right."""
    names = list(header)
    rule = ["---" if index < 2 else "---:" for index in range(len(names))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [names, rule, *rows])


def prose(text: str) -> str:
    """A paragraph, wrapped."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def mib(size: float) -> str:
    """Bytes as MiB."""
    return f"{size / 2**20:.1f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent, without the sign."""
    return "-" if share is None else f"{100 * share:.{digits}f}"


def machine(document: Document) -> str:
    """The processor that a document's figures are of."""
    held = document["machine"]
    return f"{held['cpu_count']} cores of an {held['cpu'].replace('(R)', '').replace(' Processor', '')}"


def beside(document: Document) -> str:
    """The other work beside a measurement, by the load at its start where that was kept."""
    load = document.get("load_average_at_start", [None])[0]
    if load is None:
        return ", other work beside it"
    return f", other work beside it, load {load:.0f}" if load > 1 else ""
