"""A tiny network packed as those that ship are, in a folder of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from danet_train.checkpoint import Checkpoint
from danet_train.classes import CITYSCAPES
from danet_train.pretrained.record import DataFacts, PretrainedRecord, Scores, TrainingFacts
from danet_train.pretrained.registry import pretrained_files
from danet_train.pretrained.weights import pack

NAME = "tiny"


def put_pretrained(folder: Path, checkpoint: Checkpoint) -> PretrainedRecord:
    """Put the network of ``checkpoint`` into ``folder`` under ``NAME``; its scores are made up."""
    classes = checkpoint.classes or CITYSCAPES
    weights = pack(checkpoint.model.state_dict())
    record = PretrainedRecord(
        name=NAME,
        title="a network of a test",
        sha256=hashlib.sha256(weights).hexdigest(),
        bytes=len(weights),
        parameters=sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        size_hw=(64, 96),
        config=checkpoint.model.config.model_dump(mode="json"),
        classes=classes,
        normalisation=checkpoint.normalisation,
        data=DataFacts(name="none", origin="drawn", licence="free", train_images=1),
        training=TrainingFacts(
            recipe="demo",
            changes=(),
            steps=7,
            batch_size=2,
            seed=3,
            precision="fp32",
            seconds=1.0,
            machine="a machine",
        ),
        scores=Scores(
            split="val",
            images=1,
            miou=0.5,
            pixel_accuracy=0.5,
            iou=dict.fromkeys(classes.names, 0.5),
            miou_before_rounding=0.5,
            labels_kept=1.0,
        ),
        limits=("It was not trained.",),
        versions={"torch": "0"},
    )
    weights_file, record_file = pretrained_files(NAME, folder)
    weights_file.write_bytes(weights)
    record_file.write_text(record.text(), encoding="utf-8")
    return record
