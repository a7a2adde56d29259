"""What a calibration came to, as rich tables for the command line."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from danet_runtime.visible_text import visible


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
        table.add_row("computed in (on this CPU)", *(rung["computed_in"] for rung in ladder))
        table.add_row("mIoU, %", *(f"{100 * rung['miou']:.2f}" for rung in ladder))
        limit = f"(at most {rules['max_miou_drop_points']:g} under)"
        table.add_row(
            f"mIoU {limit}",
            *(_points(rung["miou_drop_points"], rung["miou_drop_interval"]) for rung in ladder),
        )
        limit = f"(at most {rules['max_class_drop_points']:g} under)"
        for name in ladder[0]["class_drop_points"]:
            held = verdict["evidence"][name]
            table.add_row(
                Text(f"{visible(name)} {limit}\n  {held['pixels']} pixels in {held['frames']} frames"),
                *(
                    _points(rung["class_drop_points"][name], rung["class_drop_intervals"][name])
                    for rung in ladder
                ),
            )
    if (asked := ladder[0]["golden_agreement_asked"]) is not None:
        table.add_row(
            f"golden frame's labels (at least {asked:.0%})",
            *("" if (share := rung["golden_agreement"]) is None else f"{share:.2%}" for rung in ladder),
        )
    table.add_row("gate", *(_colored(rung["gate"]) for rung in ladder))
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


def decision(verdict: dict[str, Any]) -> str:
    """The gate's word and for what it holds, in one line.

    Args:
        verdict: As for :func:`ladder_table`.
    """
    said = f"gate: {verdict['gate']}"
    if verdict["gate"] == "passed":
        said += f" for {', '.join(('mIoU', *verdict['measured']))}"
        if verdict["not_measured"]:
            said += f"; not measured: {', '.join(verdict['not_measured'])}"
    return f"{said} ({verdict['reason']})"


def remarks(verdict: dict[str, Any]) -> list[str]:
    """What the gate did not measure or is not sure of, in words; empty where there is nothing."""
    if verdict["labelled"] is None:
        return ["No labelled frames were given (--labelled): what INT8 costs each class is not known."]
    said = []
    rules, short = verdict["rules"], verdict["not_measured"]
    if short:
        held = (
            f"{n} ({verdict['evidence'][n]['pixels']} in {verdict['evidence'][n]['frames']})" for n in short
        )
        said.append(
            f"{verdict['labelled']} holds too few pixels in too few frames of {', '.join(held)}; "
            f"{rules['min_class_pixels']} in {rules['min_class_frames']} are asked: the gate says nothing of "
            "them."
        )
    if not verdict["measured"]:
        said.append("No guarded class was measured: the gate held the mIoU alone.")
    chosen = [rung for rung in verdict["ladder"] if rung["name"] in ("INT8 everywhere", "mixed")][-1:]
    said += [told for rung in chosen for told in rung["near_the_limit"] or ()]
    said += [
        f"The drop of the mIoU leaves out {', '.join(rung['miou_drop_leaves_out'])}, which no label holds "
        "and only one of INT8 and FP32 predicts."
        for rung in chosen
        if rung["miou_drop_leaves_out"]
    ]
    shared = verdict["overlap"]
    if count := len(shared["calibrated"]) + len(shared["held_out"]):
        said.append(f"{count} of the {shared['of']} labelled frames are the calibration's too: it says less.")
    return said


def _points(drop: float, interval: list[float] | None) -> str:
    said = f"{0.0 - drop:+.2f}"
    if interval and interval[0] != interval[1]:
        said += f" ({0.0 - interval[1]:+.2f} to {0.0 - interval[0]:+.2f})"
    return said


def _colored(gate: str) -> Text:
    color = {"passed": "green", "failed": "red"}.get(gate, "yellow")
    return Text(gate, style=color)
