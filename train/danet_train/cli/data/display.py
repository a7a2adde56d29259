"""Tables of ``danet data``, within 80 columns, and the progress of its reading and writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from danet_train.data.own.proposal import Proposal
    from danet_train.data.own.splits import Division, Frame


def proposal_table(proposal: Proposal) -> Table:
    """Return label, name, color, code in the masks, pixels and masks of each class, and what is void."""
    from rich.style import Style
    from rich.table import Table
    from rich.text import Text

    from danet_train.classes.colors import as_hex
    from danet_train.data.own.proposal import shown_code

    pixels = sum(count.pixels for count in proposal.counts.values())
    table = Table(title=f"classes, told by {proposal.told} in {proposal.kind} masks")
    table.add_column("label", justify="right")
    table.add_column("name", overflow="fold")
    table.add_column("color")
    table.add_column("in the masks", overflow="fold")
    table.add_column("pixels %", justify="right")
    table.add_column("masks", justify="right")
    for index, (name, color, code) in enumerate(
        zip(proposal.table.names, proposal.table.colors, proposal.codes, strict=True)
    ):
        patch = Text("  ", Style(bgcolor=as_hex(color))).append(f" {as_hex(color)}", Style(bgcolor="default"))
        count = proposal.counts.get(code)
        where = "-" if count is None else shown_code(code, proposal.told)
        share = "0" if count is None else _percent(count.pixels, pixels)
        table.add_row(str(index), name, patch, where, share, "0" if count is None else str(count.masks))
    for code, why in proposal.void.items():
        count = proposal.counts[code]
        share = _percent(count.pixels, pixels)
        table.add_row("255", f"ignored: {why}", "", shown_code(code, proposal.told), share, str(count.masks))
    if proposal.blended:
        blended = sum(proposal.counts[code].pixels for code in proposal.blended)
        share = _percent(blended, pixels)
        table.add_row("255", "in between", "", f"{len(proposal.blended)} colors", share, "")
    return table


def splits_table(frames: Sequence[Frame], division: Division, proposal: Proposal) -> Table:
    """Return pictures, sequences and missing classes of each split."""
    from rich.table import Table

    counts = Counter(division.split_of)
    table = Table(title=f"splits, {division.way}")
    table.add_column("split")
    table.add_column("pictures", justify="right")
    table.add_column("sequences", justify="right")
    table.add_column("classes that never occur", overflow="fold")
    for split in sorted(counts, key=["train", "val", "test"].index):
        held = {
            index
            for frame, own in zip(frames, division.split_of, strict=True)
            if own == split
            for index in frame.classes
        }
        absent = [name for index, name in enumerate(proposal.table.names) if index not in held]
        sequences = division.sequences.get(split)
        shown = "-" if sequences is None else str(sequences)
        table.add_row(split, str(counts[split]), shown, ", ".join(absent) or "none")
    return table


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, which is gone at the end; yield what counts one file.

    Args:
        console: Where to.
        what: What is done, in a word.
        total: Number of files.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.2f}"
