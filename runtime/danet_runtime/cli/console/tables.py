"""Tables that more than one command prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from danet_runtime.timing import LatencySummary


def latency_table(latency: LatencySummary, remainder: str, camera: str | None = None) -> Table:
    """Percentiles of every stage, the remainder under the given name, and the whole.

    The column of means adds up; percentiles do not.

    Args:
        latency: Latency of one camera.
        remainder: Name of the row for the time outside all stages.
        camera: Name of the camera, where there are several.
    """
    from rich.table import Table

    window = "" if latency.window == latency.frames else f"; percentiles of the latest {latency.window}"
    whose = "" if camera is None else f" of {camera}"
    table = Table(title=f"Latency in ms over {latency.frames} frames{whose}{window}")
    table.add_column("stage")
    for name in ("mean", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    for name, stage in (*latency.stages.items(), (remainder, latency.remainder), ("total", latency.total)):
        values = (stage.mean_ms, stage.p50_ms, stage.p95_ms, stage.p99_ms, stage.max_ms)
        table.add_row(name, *(f"{value:.2f}" for value in values), end_section=name == remainder)
    return table
