"""A checkpoint becomes a network that ships: weights in FP16, its record, its page in docs/models.md.

python -m benchmarks.records.pretrained CHECKPOINT DATA [--name camvid_r18_small] [--machine TEXT]

The checkpoint is one of `danet train`, with the record that it wrote beside it. Both it and the file that
ships are scored on the validation split, and the record states the scores of the latter.
`python -m benchmarks.tables` writes the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from danet_runtime.files.atomic import sha256_of
from danet_runtime.machine import describe_machine
from danet_train.checkpoint import Checkpoint, read_checkpoint
from danet_train.classes import ClassTable
from danet_train.data.datasets.layouts import open_dataset
from danet_train.data.samples.sample import Dataset, Image
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.evaluation.scoring import check_classes_agree, score, scores_of
from danet_train.files.atomic import write_whole
from danet_train.files.limited import read_yaml
from danet_train.model.architecture import model_from_state
from danet_train.model.danet import DANet
from danet_train.pretrained.record import DataFacts, PretrainedRecord, Scores, TrainingFacts
from danet_train.pretrained.registry import FOLDER, pretrained_files
from danet_train.pretrained.weights import pack, read_pretrained
from danet_train.training.config import read_config

NOTES = Path(__file__).with_suffix(".yaml")
PACKAGES = ("danet-train", "torch", "numpy", "opencv-python-headless", "safetensors")
DECIMALS = 6


def shipped_model(checkpoint: Checkpoint, weights: bytes) -> DANet:
    """The network of the packed weights, as :func:`danet_train.load_pretrained` gives it."""
    return model_from_state(checkpoint.model.config, safetensors.torch.load(weights))


def counted(model: DANet, checkpoint: Checkpoint, dataset: Dataset) -> tuple[ConfusionMatrix, list[Image]]:
    """The counts over a split, the whole image at once, and the labels of each image."""
    labels: list[Image] = []
    scored = score(
        model, dataset, checkpoint.normalisation, keep=lambda _name, prediction: labels.append(prediction)
    )
    return scored.matrix, labels


def measured(
    checkpoint: Checkpoint, weights: bytes, dataset: Dataset, split: str, classes: ClassTable
) -> Scores:
    """Score the checkpoint and the file that ships, and compare their labels pixel by pixel."""
    before, labels_before = counted(checkpoint.model, checkpoint, dataset)
    after, labels = counted(shipped_model(checkpoint, weights), checkpoint, dataset)
    same = sum(int(np.count_nonzero(one == other)) for one, other in zip(labels_before, labels, strict=True))
    scores = scores_of(after, classes)
    return Scores(
        split=split,
        images=len(labels),
        miou=round(scores["miou"], DECIMALS),
        pixel_accuracy=round(scores["pixel_accuracy"], DECIMALS),
        iou={name: iou if iou is None else round(iou, DECIMALS) for name, iou in scores["iou"].items()},
        miou_before_rounding=round(before.miou, DECIMALS),
        labels_kept=round(same / sum(image.size for image in labels), DECIMALS),
    )


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of all sections, each as its dotted key with its value."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def changes(recipe: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings of a training that differ from its recipe's; classes, which follow the data, left out."""
    base = dict(flat(read_config(recipe).model_dump(mode="json")))
    left_out = {"model.num_classes", *(key for key in base if key.startswith("published"))}
    return tuple(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in flat(config)
        if key not in left_out and not key.startswith("published") and base.get(key) != value
    )


def trained(recipe: str, record: Mapping[str, Any], machine: str) -> TrainingFacts:
    """The part of the training record that is shown."""
    config = record["config"]
    return TrainingFacts(
        recipe=recipe,
        changes=changes(recipe, config),
        steps=record["steps"],
        batch_size=config["batch_size"],
        seed=config["seed"],
        precision=config["precision"],
        seconds=round(record["training_seconds"], 1),
        machine=machine,
    )


def this_machine() -> str:
    """The processor, in words."""
    held = describe_machine()
    return f"{held['cpu_count']} cores of an {held['cpu']}"


def make(
    checkpoint_path: Path, data: Path, name: str, machine: str, folder: Path = FOLDER
) -> PretrainedRecord:
    """Write the weights and the record of the network ``name`` into ``folder``.

    Raises:
        SystemExit: Nothing is noted of ``name``, the checkpoint names no classes, or what was written is not
            what was packed.
        DanetTrainError: The checkpoint, its record or the data cannot be read, or the weights are too large.
    """
    notes = read_yaml(NOTES)
    if name not in notes:
        raise SystemExit(f"{NOTES.name} says nothing of {name!r}; expected one of: {', '.join(notes)}")
    note = notes[name]
    checkpoint = read_checkpoint(checkpoint_path)
    if checkpoint.classes is None:
        raise SystemExit(f"{checkpoint_path} names no classes; give a checkpoint of `danet train`")
    training = json.loads(checkpoint_path.with_suffix(".json").read_text(encoding="utf-8"))
    train, val = (open_dataset(data, split, note["classes"]) for split in ("train", "val"))
    check_classes_agree(checkpoint.classes, checkpoint.model.config.num_classes, val.classes)
    height, width = val[0].image.shape[:2]
    weights = pack(checkpoint.model.state_dict())
    weights_file, record_file = pretrained_files(name, folder)
    record = PretrainedRecord(
        name=name,
        title=note["title"],
        sha256=sha256_of(weights),
        bytes=len(weights),
        parameters=sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        size_hw=(height, width),
        config=checkpoint.model.config.model_dump(mode="json"),
        classes=checkpoint.classes,
        normalisation=checkpoint.normalisation,
        data=DataFacts(**note["data"], train_images=len(train)),
        training=trained(note["recipe"], training, machine),
        scores=measured(checkpoint, weights, val, "val", val.classes),
        limits=tuple(note["limits"]),
        versions={package: version(package) for package in PACKAGES},
    )
    write_whole(weights_file, weights)
    write_whole(record_file, record.text().encode())
    if read_pretrained(name, folder).sha256 != record.sha256:
        raise SystemExit(f"{weights_file} is not what was packed")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="of `danet train`, its record beside it")
    parser.add_argument("data", type=Path, help="folder with train and val")
    parser.add_argument("--name", default="camvid_r18_small", help=f"one of those in {NOTES.name}")
    parser.add_argument("--machine", help="where it was trained, in words; this machine unless given")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where to write; the package unless given"
    )
    arguments = parser.parse_args()
    machine = arguments.machine or this_machine()
    record = make(arguments.checkpoint, arguments.data, arguments.name, machine, arguments.folder)
    scores = record.scores
    print(
        f"{record.name}: {record.bytes} bytes, mIoU {100 * scores.miou:.2f} on {scores.images} images, "
        f"before rounding {100 * scores.miou_before_rounding:.2f}; {scores.labels_kept:.4%} of labels kept"
    )
    print("next: python -m benchmarks.tables")


if __name__ == "__main__":
    main()
