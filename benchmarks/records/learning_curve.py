"""The learning curve of a training as a picture, from the record that `danet train` writes.

python -m benchmarks.records.learning_curve RECORD.json -o PICTURE.png [--name CONFIGURATION]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

LOSS, SCORE = "#b5532c", "#2b6a99"


def title(record: dict[str, Any], name: str | None) -> str:
    """The network, its data and its training: nothing that depends on the machine."""
    config = record["config"]
    crop = "x".join(map(str, config["augmentation"]["crop_hw"]))
    parts = (
        *([name] if name else []),
        f"DANet-R{config['model']['depth']}, {len(record['iou'])} classes",
        f"{record['steps']} steps of {config['batch_size']} crops {crop}",
        f"{config['optimiser']['kind']}, lr {config['optimiser']['lr']:g}, seed {config['seed']}",
    )
    return "\n".join((", ".join(parts[:-2]), ", ".join(parts[-2:])))


def draw(record: dict[str, Any], path: Path, name: str | None) -> None:
    """Loss and learning rate above, mIoU on the validation split below, over the steps."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 6), height_ratios=(1, 1))
    steps = [point["step"] for point in record["loss_curve"]]
    above.plot(steps, [point["loss"] for point in record["loss_curve"]], color=LOSS, linewidth=1.5)
    above.set_ylabel("loss (mean)", color=LOSS)
    above.set_ylim(bottom=0)
    rates = above.twinx()
    rates.plot(steps, [point["lr"] for point in record["loss_curve"]], color="0.6", linewidth=1, ls="--")
    rates.set_ylabel("learning rate", color="0.45")
    rates.set_ylim(bottom=0)
    scores = [point for point in record["val_curve"] if point["miou"] is not None]
    below.plot([point["step"] for point in scores], [point["miou"] for point in scores], "o-", color=SCORE)
    best = record["best"]
    if best is not None and best["miou"] is not None:
        below.plot(best["step"], best["miou"], "o", color=SCORE, markersize=11, fillstyle="none")
        below.set_title(
            f"best {best['miou']:.2%} after {best['step']}, last {scores[-1]['miou']:.2%}", fontsize=10
        )
    below.set_ylabel("validation mIoU", color=SCORE)
    below.yaxis.set_major_formatter(PercentFormatter(1.0))
    below.margins(y=0.12)
    below.set_ylim(bottom=0)
    below.set_xlabel("steps")
    for axis in (above, below):
        axis.grid(alpha=0.3)
    figure.suptitle(title(record, name), fontsize=11)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the JSON beside a checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the picture to write, a .png")
    parser.add_argument("--name", help="of the configuration, for the title")
    arguments = parser.parse_args()
    record = json.loads(arguments.record.read_text(encoding="utf-8"))
    if not record.get("val_curve") or "lr" not in record["loss_curve"][0]:
        parser.error(f"{arguments.record} holds no learning curve; train again with this version")
    draw(record, arguments.output, arguments.name)
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
