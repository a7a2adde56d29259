"""Scores as a table on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from danet_train.classes import ClassTable
    from danet_train.metrics import ConfusionMatrix


def score_table(matrix: ConfusionMatrix, classes: ClassTable) -> Table:
    """Per-class IoU in percent, with each class's share of the scored pixels, and the means below."""
    from rich.table import Table

    table = Table("class", title=f"{int(matrix.counts.sum()):,} pixels", show_footer=True)
    table.columns[0].footer = "mIoU"
    table.add_column("IoU %", justify="right", footer=f"{100 * matrix.miou:.2f}")
    table.add_column("share %", justify="right", footer=f"accuracy {100 * matrix.pixel_accuracy:.2f}")
    total = max(1, int(matrix.counts.sum()))
    for name, iou, pixels in zip(classes.names, matrix.iou(), matrix.counts.sum(axis=1), strict=True):
        absent = bool(iou != iou)
        table.add_row(name, "absent" if absent else f"{100 * iou:.2f}", f"{100 * pixels / total:.2f}")
    return table
