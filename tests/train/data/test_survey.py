"""Labels that cannot be learned from or scored on are refused before the first step."""

import numpy as np
import pytest
import typer
from labelled_folders import plain_folder, put, scene
from typer.testing import CliRunner

from danet_train import open_dataset
from danet_train.classes import read_classes
from danet_train.cli.evaluate import evaluate
from danet_train.cli.train import train
from danet_train.data.datasets.survey import survey, survey_lines
from danet_train.errors import ConfigError, DataError

TINY = """
model: {depth: 18, base_channels: 4, stem_channels: 4, head_channels: 8, attention_channels: 4}
augmentation: {crop_hw: [32, 48]}
batch_size: 2
device: cpu
threads: 1
"""


def _run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def labelled_with(root, value, split):
    for path in (root / split / "labels").iterdir():
        put(path, np.full((32, 48), value, np.uint8))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    return plain_folder(tmp_path / "set")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("value", "words"),
    [(255, "ignored everywhere"), (1, "every labelled pixel is 'car'; expected at least 2")],
)
def test_training_refuses_it_before_the_first_step(folder, tmp_path, split, value, words):
    labelled_with(folder, value, split)
    out = tmp_path / "c.pt"
    done = _run(train, "--data", folder, "--config", tmp_path / "tiny.yaml", "--steps", 1, "-o", out)
    assert isinstance(done.exception, DataError)
    assert str(done.exception).startswith(f"{split}: ")
    assert words in str(done.exception)
    assert not out.exists()
    for bad in ("loss", "nan", "100.00"):
        assert bad not in done.output


@pytest.mark.parametrize("value", [255, 1])
def test_evaluation_refuses_it_and_prints_no_score(folder, checkpoint, value):
    labelled_with(folder, value, "val")
    done = _run(evaluate, checkpoint, "--data", folder)
    assert isinstance(done.exception, DataError)
    for bad in ("mIoU", "nan", "100.00"):
        assert bad not in done.output


def test_values_that_the_table_ignores_are_no_labels(folder):
    with (folder / "classes.yaml").open("a") as file:
        file.write("ignore: [9]\n")
    labelled_with(folder, 9, "val")
    with pytest.raises(DataError, match="labels of all 4 images are ignored everywhere"):
        survey(open_dataset(folder, "val"), "val")


def test_classes_that_never_occur_are_said_and_the_pixels_are_the_labels(folder):
    dataset = open_dataset(folder, "train")
    found = survey(dataset, "train")
    labels = np.stack([scene(index)[1] for index in range(4)])
    np.testing.assert_array_equal(found.pixels, np.bincount(labels.ravel(), minlength=4))
    assert survey_lines(dataset, "train", found) == [
        "train: no label holds 1 of the 4 classes: tree; they are neither learned nor scored here"
    ]


def test_one_labelled_picture_among_ignored_ones_is_enough(folder):
    labelled_with(folder, 255, "val")
    put(folder / "val/labels/s3.png", scene(0)[1])
    assert survey(open_dataset(folder, "val"), "val").pixels.any()


def test_labels_that_cannot_be_read_stop_it_or_are_passed_over(folder):
    (folder / "val/labels/s1.png").write_bytes(b"")
    dataset = open_dataset(folder, "val")
    with pytest.raises(DataError, match=r"s1\.png"):
        survey(dataset, "val")
    assert survey(dataset, "val", "skip").pixels.any()


def test_a_table_of_one_class_is_refused_in_words(tmp_path):
    (tmp_path / "classes.yaml").write_text("classes:\n  - {name: road, color: [0, 0, 9]}\n")
    with pytest.raises(ConfigError, match=r"expected at least two classes, got one, 'road'"):
        read_classes(tmp_path / "classes.yaml")
