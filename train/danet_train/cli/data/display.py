"""Tables of ``danet data``, within 80 columns, and the progress of its reading and writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from danet_train.data.datasets.check import SplitCheck
    from danet_train.data.own.proposal import Proposal
    from danet_train.data.own.splits import Division, Frame

_SIZES = 3
_BAR = 10
_NAME = 13
_SPLITS_WITH_BARS = 2
_SPLITS_A_TABLE = 4


def proposal_table(proposal: Proposal) -> Table:
    """Return label, name, color, code in the masks, pixels and masks of each class, and what is void."""
    from rich.style import Style
    from rich.table import Table
    from rich.text import Text

    from danet_train.classes.colors import as_hex
    from danet_train.data.own.proposal import shown_code

    pixels = sum(count.pixels for count in proposal.counts.values())
    table = Table(title=f"classes, told by {proposal.encoding} in {proposal.kind} masks")
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
        where = "-" if count is None else shown_code(code, proposal.encoding)
        share = "0" if count is None else _percent(count.pixels, pixels)
        table.add_row(str(index), name, patch, where, share, "0" if count is None else str(count.masks))
    for code, why in proposal.void.items():
        count = proposal.counts[code]
        share = _percent(count.pixels, pixels)
        table.add_row(
            "255", f"ignored: {why}", "", shown_code(code, proposal.encoding), share, str(count.masks)
        )
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
    """Show how many files are done (:mod:`danet_train.cli.progress`); yield what counts one.

    Args:
        console: Where to.
        what: Name of the work, in a word.
        total: Number of files.
    """
    from danet_train.cli.progress import ShownProgress

    done = count(1)
    with ShownProgress(console, what, total) as shown:
        yield lambda: shown(next(done))


def summary_table(checks: Sequence[SplitCheck]) -> Table:
    """Return pairs, sizes, pictures that EXIF turns, ignored pixels and bad files of each split."""
    from rich.table import Table

    table = Table()
    table.add_column("split", overflow="fold")
    table.add_column("pairs", justify="right")
    table.add_column("height x width", overflow="fold")
    table.add_column("turned by EXIF", justify="right")
    table.add_column("ignored %", justify="right")
    table.add_column("bad", justify="right")
    for check in checks:
        sizes = [f"{height}x{width}" for (height, width), _ in check.sizes.most_common(_SIZES)]
        more = len(check.sizes) - len(sizes)
        table.add_row(
            check.split,
            "0" if check.dataset is None else str(len(check.dataset)),
            ", ".join(sizes) + (f", {more} more" if more > 0 else "") or "-",
            str(check.turns.total()),
            _percent(check.ignored, check.ignored + int(check.pixels.sum())),
            str(len(check.bad)),
        )
    return table


def histogram_tables(checks: Sequence[SplitCheck]) -> Iterator[Table]:
    """Yield tables of the share of labelled pixels and the number of pictures of each class, by split."""
    from rich import box
    from rich.table import Table

    read = [check for check in checks if check.dataset is not None and check.checked]
    has_bars = len(read) <= _SPLITS_WITH_BARS
    for first in range(0, len(read), _SPLITS_A_TABLE):
        part = read[first : first + _SPLITS_A_TABLE]
        table = Table(
            title="share of the labelled pixels, and pictures",
            box=box.SIMPLE,
            show_edge=False,
            padding=(0, 1, 0, 0),
        )
        table.add_column("class", overflow="fold", min_width=_NAME)
        for check in part:
            table.add_column(f"{check.split} %", justify="right", max_width=10, overflow="fold")
            if has_bars:
                table.add_column("", min_width=_BAR, no_wrap=True)
            table.add_column("pictures", justify="right")
        longest = max((len(check.dataset.classes) for check in part if check.dataset is not None), default=0)
        for index in range(longest):
            row: list[str] = []
            for check in part:
                names = () if check.dataset is None else check.dataset.classes.names
                row = row or [names[index] if index < len(names) else "-"]
                row += _cells(check, index, has_bars) if index < len(names) else [""] * (2 + has_bars)
            table.add_row(*row)
        yield table


def _cells(check: SplitCheck, index: int, has_bars: bool) -> list[str]:
    total, most = int(check.pixels.sum()), int(check.pixels.max())
    own, pictures = int(check.pixels[index]), int(check.pictures[index])
    if not own:
        return ["never", *[""] * has_bars, "0"]
    bar = "▇" * max(1, round(_BAR * own / most))
    return [_percent(own, total), *[bar] * has_bars, str(pictures)]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.2f}"
