"""The two splits of a training are two, and speak of the same classes; else nothing is trained."""

import cv2
import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner

from danet_train import open_dataset, read_checkpoint
from danet_train.cli.train import train
from danet_train.data.samples.sample import Splits
from danet_train.errors import DataError, UsageError
from danet_train.training.config import TrainConfig
from danet_train.training.fine_tune import fine_tune_to_file
from danet_train.training.listeners import Listeners
from danet_train.training.outputs import RunFiles
from danet_train.training.run import train_to_file

SETTINGS = {
    "model": {
        "depth": 18, "base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4,
    },
    "augmentation": {"crop_hw": [32, 48]},
    "optimiser": {"kind": "adamw", "lr": 0.01},
    "steps": 1, "batch_size": 2, "device": "cpu", "threads": 1,
}  # fmt: skip
ROAD_FIRST, REST_FIRST = ("road", "sky", "rest"), ("rest", "sky", "road")


def _fill(folder, classes, count=2):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for name in "abcd"[:count]:
        cv2.imwrite(str(folder / f"images/{name}.png"), np.full((32, 48, 3), 9, np.uint8))
        cv2.imwrite(str(folder / f"labels/{name}.png"), np.arange(32 * 48).reshape(32, 48) % 3)
    entries = ", ".join(f"{{name: {name}, color: [0, 0, {i}]}}" for i, name in enumerate(classes))
    (folder / "classes.yaml").write_text(f"classes: [{entries}]")


def _splits(root, train_classes, val_classes):
    _fill(root / "train", train_classes)
    _fill(root / "val", val_classes)
    return [open_dataset(root, split) for split in ("train", "val")]


def _command(tmp_path, *options):

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SETTINGS))
    app = typer.Typer()
    app.command()(train)
    arguments = ["--config", tmp_path / "tiny.yaml", "-o", tmp_path / "out/c.pt", *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(
    ("val_classes", "words"),
    [
        (
            REST_FIRST,
            "class 0 is 'road' in the training split, but 'rest' in the validation split; give",
        ),
        ((*ROAD_FIRST, "car"), "the training split has 3 classes, the validation split 4; give both splits"),
    ],
)
def test_splits_of_other_classes_are_refused_before_the_first_step(tmp_path, val_classes, words):
    splits = _splits(tmp_path / "data", ROAD_FIRST, val_classes)
    steps = []
    with pytest.raises(DataError, match=words):
        train_to_file(
            TrainConfig.model_validate(SETTINGS),
            Splits(*splits),
            RunFiles(tmp_path / "out/c.pt"),
            listeners=Listeners(on_step=steps.append),
        )
    assert steps == []
    assert _files(tmp_path / "out") == []


def test_a_fine_tuning_refuses_them_too(tmp_path):
    config, out = TrainConfig.model_validate(SETTINGS), tmp_path / "c.pt"
    learn, other = _splits(tmp_path / "data", ROAD_FIRST, REST_FIRST)
    train_to_file(config, Splits(learn, learn), RunFiles(out))
    config = config.model_copy(update={"model": read_checkpoint(out).model.config})
    with pytest.raises(DataError, match="class 0 is 'road' in the training split, but 'rest'"):
        fine_tune_to_file(config, read_checkpoint(out), Splits(learn, other), tmp_path / "out/q.pt")
    assert _files(tmp_path / "out") == []


def test_one_class_table_for_both_is_a_way_out(tmp_path):
    _splits(tmp_path / "data", ROAD_FIRST, REST_FIRST)
    table = tmp_path / "data/train/classes.yaml"
    result = _command(tmp_path, "--data", tmp_path / "data", "--classes", table)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("options", [(), ("--val-split", "vall"), ("--train-split", "a", "--val-split", "b")])
def test_two_names_for_the_same_images_are_refused_and_both_named(tmp_path, options):
    _fill(tmp_path / "data", ROAD_FIRST)
    result = _command(tmp_path, "--data", tmp_path / "data", *options)
    assert isinstance(result.exception, UsageError)
    names = {"train": options[1] if "--train-split" in options else "train"}
    names["val"] = options[-1] if options else "val"
    assert f"{names['train']!r} and {names['val']!r} are the same 2 images" in str(result.exception)
    assert _files(tmp_path / "out") == []


def test_one_name_for_both_is_a_wish(tmp_path):
    _fill(tmp_path / "data", ROAD_FIRST)
    result = _command(tmp_path, "--data", tmp_path / "data", "--train-split", "all", "--val-split", "all")
    assert result.exit_code == 0, result.output


def test_a_mistyped_split_beside_others_is_refused(tmp_path):
    _splits(tmp_path / "data", ROAD_FIRST, ROAD_FIRST)
    result = _command(tmp_path, "--data", tmp_path / "data", "--val-split", "vall")
    assert "has no split 'vall'; it has train, val" in str(result.exception)
