"""Scores as a table on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from danet_train.classes import ClassTable
    from danet_train.evaluation.metrics import ConfusionMatrix


def score_table(matrix: ConfusionMatrix, classes: ClassTable) -> Table:
    """Per-class IoU and accuracy in percent, each class's share of the scored pixels, and the means below."""
    from rich.table import Table

    table = Table("class", title=f"{int(matrix.counts.sum()):,} pixels", show_footer=True)
    table.columns[0].footer = "mean"
    table.add_column("IoU %", justify="right", footer=f"mIoU {100 * matrix.miou:.2f}")
    table.add_column("accuracy %", justify="right", footer=f"{100 * matrix.mean_accuracy:.2f}")
    table.add_column("share %", justify="right", footer=f"pixels right {100 * matrix.pixel_accuracy:.2f}")
    total = max(1, int(matrix.counts.sum()))
    pixels = matrix.counts.sum(axis=1)
    for name, iou, right, count in zip(classes.names, matrix.iou(), matrix.accuracy(), pixels, strict=True):
        table.add_row(name, _percent(iou), _percent(right), f"{100 * count / total:.2f}")
    return table


def _percent(value: float) -> str:
    return "absent" if value != value else f"{100 * value:.2f}"
