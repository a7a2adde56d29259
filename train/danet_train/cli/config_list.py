"""The packaged configurations as a table."""

from __future__ import annotations

from rich import box
from rich.table import Table

from danet_train.config.inheritance import packaged_names
from danet_train.training.config import read_config


def config_table() -> Table:
    """Name, network, and the published mIoU in percent at one scale and at several, and by whom."""
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
            f"R-{config.model.depth} {'+'.join(parts) or 'FCN'}",
            *("-" if score is None else f"{score:.2f}" for score in scores),
            "-" if published is None else published.source,
        )
    return table
