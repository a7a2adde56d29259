"""Rich tables and sentences on the result of a calibration, for the command line."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from danet_runtime.visible_text import visible


def candidate_table(verdict: dict[str, Any], title: str) -> Table:
    """Return a table with one column per candidate; drops are in points under FP32.

    Args:
        verdict: The verdict's JSON, or the calibration report that holds it.
        title: Title of the table.
    """
    candidates: list[dict[str, Any]] = verdict["ladder"]
    table = Table("", *(candidate["name"] for candidate in candidates), title=title)
    table.add_row("model file, MiB", *(f"{candidate['mib']:.1f}" for candidate in candidates))
    table.add_row(
        "convolution MACs on INT8", *(f"{candidate['conv_mac_share_int8']:.1%}" for candidate in candidates)
    )
    if verdict["labelled"] is not None:
        rules = verdict["rules"]
        table.add_row("computed in (on this CPU)", *(candidate["computed_in"] for candidate in candidates))
        table.add_row("mIoU, %", *(f"{100 * candidate['miou']:.2f}" for candidate in candidates))
        limit = f"(at most {rules['max_miou_drop_points']:g} under)"
        table.add_row(
            f"mIoU {limit}",
            *(
                _points(candidate["miou_drop_points"], candidate["miou_drop_interval"])
                for candidate in candidates
            ),
        )
        limit = f"(at most {rules['max_class_drop_points']:g} under)"
        for name in candidates[0]["class_drop_points"]:
            held = verdict["evidence"][name]
            table.add_row(
                Text(f"{visible(name)} {limit}\n  {held['pixels']} pixels in {held['frames']} frames"),
                *(
                    _points(candidate["class_drop_points"][name], candidate["class_drop_intervals"][name])
                    for candidate in candidates
                ),
            )
    if (asked := candidates[0]["golden_agreement_asked"]) is not None:
        table.add_row(
            f"golden frame's labels (at least {asked:.0%})",
            *(
                "" if (share := candidate["golden_agreement"]) is None else f"{share:.2%}"
                for candidate in candidates
            ),
        )
    table.add_row("gate", *(_colored(candidate["gate"]) for candidate in candidates))
    return table


def sensitivity_table(verdict: dict[str, Any], most: int = 10) -> Table:
    """Return a table of the layers that do the most harm when they alone are in INT8.

    Args:
        verdict: The verdict's JSON, or the calibration report that holds it.
        most: Largest number of rows.
    """
    kept = {
        name
        for candidate in verdict["ladder"]
        if candidate["name"] == "mixed"
        for name in candidate["layers_in_fp16"]
    }
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
    """Return the gate's decision, the classes it holds for, and the reason, in one line.

    Args:
        verdict: The verdict's JSON, or the calibration report that holds it.
    """
    line = f"gate: {verdict['gate']}"
    if verdict["gate"] == "passed":
        line += f" for {', '.join(('mIoU', *verdict['measured']))}"
        if verdict["not_measured"]:
            line += f"; not measured: {', '.join(verdict['not_measured'])}"
    return f"{line} ({verdict['reason']})"


def remarks(verdict: dict[str, Any]) -> list[str]:
    """Return sentences on what the gate did not measure or is not sure of; empty where there is nothing."""
    if verdict["labelled"] is None:
        return ["No labelled frames were given (--labelled): what INT8 costs each class is not known."]
    sentences = []
    rules, short = verdict["rules"], verdict["not_measured"]
    if short:
        held = (
            f"{n} ({verdict['evidence'][n]['pixels']} in {verdict['evidence'][n]['frames']})" for n in short
        )
        sentences.append(
            f"{verdict['labelled']} holds too few pixels in too few frames of {', '.join(held)}; "
            f"{rules['min_class_pixels']} in {rules['min_class_frames']} are asked: the gate says nothing of "
            "them."
        )
    if not verdict["measured"]:
        sentences.append("No guarded class was measured: the gate held the mIoU alone.")
    chosen = [
        candidate for candidate in verdict["ladder"] if candidate["name"] in ("INT8 everywhere", "mixed")
    ][-1:]
    sentences += [near for candidate in chosen for near in candidate["near_the_limit"] or ()]
    sentences += [
        f"The drop of the mIoU leaves out {', '.join(candidate['miou_drop_leaves_out'])}, which no label "
        "holds and only one of INT8 and FP32 predicts."
        for candidate in chosen
        if candidate["miou_drop_leaves_out"]
    ]
    shared = verdict["overlap"]
    if count := len(shared["calibrated"]) + len(shared["held_out"]):
        sentences.append(
            f"{count} of the {shared['of']} labelled frames are the calibration's too: it says less."
        )
    return sentences


def _points(drop: float, interval: list[float] | None) -> str:
    text = f"{0.0 - drop:+.2f}"
    if interval and interval[0] != interval[1]:
        text += f" ({0.0 - interval[1]:+.2f} to {0.0 - interval[0]:+.2f})"
    return text


def _colored(gate: str) -> Text:
    color = {"passed": "green", "failed": "red"}.get(gate, "yellow")
    return Text(gate, style=color)
