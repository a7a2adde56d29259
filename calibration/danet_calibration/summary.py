"""What a calibration came to, as rich tables for the command line."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def ladder_table(verdict: dict[str, Any], title: str) -> Table:
    """The ladder, one column a rung, drops in points under FP32.

    Args:
        verdict: The verdict's JSON, or the calibration report that holds it.
        title: Of the table.
    """
    ladder: list[dict[str, Any]] = verdict["ladder"]
    table = Table("", *(rung["name"] for rung in ladder), title=title)
    table.add_row("model file, MiB", *(f"{rung['mib']:.1f}" for rung in ladder))
    table.add_row("convolution MACs on INT8", *(f"{rung['conv_mac_share_int8']:.1%}" for rung in ladder))
    if verdict["labelled"] is not None:
        rules = verdict["rules"]
        table.add_row("mIoU, %", *(f"{100 * rung['miou']:.2f}" for rung in ladder))
        limit = f"(at most {rules['max_miou_drop_points']:g} under)"
        table.add_row(f"mIoU {limit}", *(_points(rung["miou_drop_points"]) for rung in ladder))
        limit = f"(at most {rules['max_class_drop_points']:g} under)"
        for name in ladder[0]["class_drop_points"]:
            table.add_row(f"{name} {limit}", *(_points(rung["class_drop_points"][name]) for rung in ladder))
    table.add_row("gate", *(_coloured(rung["gate"]) for rung in ladder))
    return table


def sensitivity_table(verdict: dict[str, Any], most: int = 10) -> Table:
    """The layers whose effect alone is the worst.

    Args:
        verdict: As for :func:`ladder_table`.
        most: At most so many rows.
    """
    kept = {name for rung in verdict["ladder"] if rung["name"] == "mixed" for name in rung["layers_in_fp16"]}
    table = Table(title="Each layer alone in INT8")
    table.add_column("layer", overflow="fold")
    for name in ("logit error", "labels changed", "kept in"):
        table.add_column(name)
    for item in verdict["sensitivity"][:most]:
        error = "not finite" if item["logit_error"] is None else f"{item['logit_error']:.2e}"
        precision = "FP16" if item["layer"] in kept else "INT8"
        table.add_row(item["layer"], error, f"{item['label_disagreement']:.2%}", precision)
    return table


def remarks(verdict: dict[str, Any]) -> list[str]:
    """What the gate did not measure, in words; empty where it measured all that it guards."""
    if verdict["labelled"] is None:
        return ["gate: not measured, for no labelled frames were given (--labelled)."]
    rules = verdict["rules"]
    said = []
    if rules["not_in_labels"]:
        names = ", ".join(rules["not_in_labels"])
        said.append(f"{verdict['labelled']} holds no pixel of {names}: the gate says nothing of them.")
    if not set(rules["guarded"]) - set(rules["not_in_labels"]):
        said.append("No guarded class was measured: the gate held the mIoU alone.")
    return said


def _points(drop: float) -> str:
    return f"{0.0 - drop:+.2f}"


def _coloured(gate: str) -> str:
    colour = {"passed": "green", "failed": "red"}.get(gate, "yellow")
    return f"[{colour}]{gate}[/]"
