"""The networks that ship, as docs/models.md and the README tell of them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables.text import Document, markdown, percent, prose, read

NONE = "None ships with this version: `danet train` makes one of your own."


def records(folder: Path) -> list[Document]:
    """The records of the networks whose weights are in a folder."""
    found = (read(folder, file.stem) for file in sorted(folder.glob("*.safetensors")))
    return [record for record in found if record is not None]


def facts(record: Document) -> str:
    """The table of everything but the classes."""
    data, training, scores = record["data"], record["training"], record["scores"]
    how = f"{training['steps']} steps of {training['batch_size']}, seed {training['seed']}, "
    how += training["precision"]
    changed = "".join(f" `{change}`" for change in training["changes"])
    rows = [
        ["network", f"{record['title']}; {record['parameters'] / 1e6:.1f} M parameters"],
        ["file", f"{record['bytes'] / 1e6:.1f} MB, SHA-256 `{record['sha256']}`"],
        ["input", f"{'x'.join(map(str, record['size_hw']))} unless you give another `--size`"],
        ["data", f"{data['name']}: {data['train_images']} images. {data['origin']}"],
        ["licence", data["licence"]],
        ["recipe", f"configuration `{training['recipe']}`; {how}"],
        ["changed in it", changed.strip() or "nothing"],
        ["trained on", f"{training['machine']}, in {training['seconds'] / 60:.0f} min"],
        [
            f"mIoU, {scores['split']}",
            f"**{percent(scores['miou'], 2)} %** on {scores['images']} images, of the file that ships; "
            f"{percent(scores['miou_before_rounding'], 2)} % before its weights were rounded to FP16, which "
            f"leaves {percent(scores['labels_kept'], 3)} % of the labels as they were",
        ],
        ["pixels right", f"{percent(scores['pixel_accuracy'], 2)} %"],
        ["made with", ", ".join(f"{name} {version}" for name, version in record["versions"].items())],
    ]
    return markdown(["what", "it is"], rows)


def iou_table(record: Document) -> str:
    """The IoU of each class, the best first."""
    iou = record["scores"]["iou"]
    ranked = sorted(iou, key=lambda name: -(iou[name] or 0))
    return markdown(
        ["class", "color, RGB", "IoU %"],
        [[name, _color(record, name), percent(iou[name])] for name in ranked],
    )


def block(folder: Path) -> str:
    """The cards of all networks in a folder."""
    cards = []
    for record in records(folder):
        limits = "\n".join(f"- {limit}" for limit in record["limits"])
        cards.append(
            f"## {record['name']}\n\n{facts(record)}\n\n### What it scores, by class\n\n"
            f"{iou_table(record)}\n\n### What it cannot do\n\n{limits}"
        )
    return "\n\n".join(cards) or NONE


def readme(folder: Path) -> str:
    """The first lines that a reader may type; empty where no network ships."""
    found = records(folder)
    if not found:
        return ""
    record = found[0]
    intro = prose(
        "Something real in a minute after `make setup` and `. .venv/bin/activate`, with no data and no "
        f"training: `{record['name']}`, a {record['title']}, "
        f"ships with the package (mIoU {percent(record['scores']['miou'], 1)} %; [what it is and what it "
        "cannot do](docs/models.md))."
    )
    return (
        f"{intro}\n\n```sh\ndanet export pretrained:{record['name']} -o camvid\n"
        "danet run camvid drive.mp4 -o overlay.mp4\n```"
    )


def _color(record: Document, name: str) -> str:
    classes = record["classes"]
    return ", ".join(map(str, classes["colors"][classes["names"].index(name)]))
