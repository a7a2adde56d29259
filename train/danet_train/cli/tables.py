"""Scores, and the packaged configurations, as tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from danet_train.classes import ClassTable
    from danet_train.evaluation.metrics import ConfusionMatrix


def score_table(matrix: ConfusionMatrix, classes: ClassTable) -> Table:
    """Return IoU, accuracy and share of the scored pixels by class, in percent, and the means below."""
    from rich.table import Table

    table = Table("class", title=f"{int(matrix.counts.sum()):,} pixels", show_footer=True)
    table.columns[0].footer = "mean"
    table.columns[0].overflow = "fold"  # a long name goes on in its next line
    table.add_column("IoU %", justify="right", footer=f"mIoU {100 * matrix.miou:.2f}")
    table.add_column("accuracy %", justify="right", footer=f"{100 * matrix.mean_accuracy:.2f}")
    table.add_column("share %", justify="right", footer=f"pixels right {100 * matrix.pixel_accuracy:.2f}")
    total = max(1, int(matrix.counts.sum()))
    pixels = matrix.counts.sum(axis=1)
    for name, iou, right, count in zip(classes.names, matrix.iou(), matrix.accuracy(), pixels, strict=True):
        table.add_row(name, _percent(iou), _percent(right), f"{100 * count / total:.2f}")
    return table


def config_table() -> Table:
    """Return name, network, and the published mIoU in percent at one scale and at several, and by whom."""
    from rich import box
    from rich.table import Table

    from danet_train.config.inheritance import packaged_names
    from danet_train.training.config import read_config

    table = Table(box=box.SIMPLE, show_edge=False)  # 80 columns hold it
    for heading in ("configuration", "network", "mIoU", "multi", "published by"):
        table.add_column(heading, no_wrap=True)
    for name in packaged_names():
        config = read_config(name)
        parts = [part.upper() for part in ("pam", "cam") if getattr(config.model, part)]
        published = config.published
        scores = (None, None) if published is None else (published.miou, published.multi_scale_miou)
        table.add_row(
            name,
            f"{config.model.label} {'+'.join(parts) or 'FCN'}",
            *("-" if score is None else f"{score:.2f}" for score in scores),
            "-" if published is None else published.source,
        )
    return table


def pretrained_table() -> Table:
    """Return the networks that ship: name, what each is, input size, classes, mIoU in percent, megabytes."""
    from rich import box
    from rich.table import Table

    from danet_train.pretrained.record import read_record
    from danet_train.pretrained.registry import SCHEME, pretrained_names

    table = Table(box=box.SIMPLE, show_edge=False, caption="mIoU on the validation split of its own data")
    table.add_column("name", no_wrap=True)
    table.add_column("network")
    for heading in ("size", "classes", "mIoU", "MB"):
        table.add_column(heading, no_wrap=True, justify="right")
    for name in pretrained_names():
        record = read_record(name)
        table.add_row(
            f"{SCHEME}{name}",
            record.title,
            record.size,
            f"{len(record.classes)}",
            _percent(record.scores.miou),
            f"{record.bytes / 1e6:.1f}",
        )
    return table


def _percent(value: float) -> str:
    return "absent" if value != value else f"{100 * value:.2f}"
