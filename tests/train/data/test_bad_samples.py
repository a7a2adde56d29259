"""Bad input in the middle of training: it ends the run by its name, or another sample takes its place."""

import re

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from danet_train import Normalisation, open_dataset
from danet_train.cli.train import train
from danet_train.config.sections import AugmentationConfig
from danet_train.data.batches import batches
from danet_train.data.torch_samples import TrainingSamples
from danet_train.errors import DataError
from danet_train.training.config import read_config

WHOLE = AugmentationConfig(scale=(1.0, 1.0), crop_hw=(8, 10), crop_max_ratio=1.0, flip=0.0, photometric=0.0)
GOOD, BAD = "acegik", "bdfhj"


@pytest.fixture
def folder(tmp_path):
    """Eleven samples, the color of each its place in the alphabet; five cannot be used, each its own way."""
    for kind in ("images", "labels"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    (tmp_path / "classes.yaml").write_text(
        "classes: [{name: x, color: [0, 0, 0]}, {name: y, color: [9, 9, 9]}]"
    )
    for number, name in enumerate(GOOD[:1] + "bcdefghijk"):
        cv2.imwrite(str(tmp_path / f"train/images/{name}.png"), np.full((8, 10, 3), number, np.uint8))
        cv2.imwrite(str(tmp_path / f"train/labels/{name}.png"), np.full((8, 10), number % 2, np.uint8))
    train_folder = tmp_path / "train"
    cv2.imwrite(str(train_folder / "labels/b.png"), np.full((8, 10), 77, np.uint8))
    (train_folder / "labels/d.png").unlink()
    image = train_folder / "images/f.png"
    image.write_bytes(image.read_bytes()[:-20])
    _, photo = cv2.imencode(".jpg", np.zeros((8, 10, 3), np.uint8))
    (train_folder / "images/h.png").unlink()
    (train_folder / "images/h.jpg").write_bytes(photo.tobytes()[:-9])
    cv2.imwrite(str(train_folder / "labels/j.png"), np.zeros((9, 10), np.uint8))
    return tmp_path


def _samples(folder, count=44, policy="skip", **options):
    dataset = open_dataset(folder, "train", bad_samples="skip")
    return TrainingSamples(dataset, count, WHOLE, Normalisation(), seed=4, bad_samples=policy, **options)


def _name(item):
    level = item.image[2, 0, 0] * Normalisation().std[2] + Normalisation().mean[2]
    return "abcdefghijk"[round(float(level))]


def _same(left, right):
    assert torch.equal(left.image, right.image)
    assert torch.equal(left.label, right.label)
    assert left.skipped == right.skipped


@pytest.mark.parametrize(
    ("name", "message"),
    [("b", "b.png holds the label value 77"), ("f", "f.png is cut off"),
     ("h", "h.jpg is cut off"), ("j", "is 10x8, but .*j.png is 10x9")],
)  # fmt: skip
def test_each_fault_ends_a_run_that_stops_and_names_its_file(folder, name, message):
    dataset = open_dataset(folder, "train", bad_samples="skip")
    one = dataset[dataset.names.index(name) :][:1]
    for workers in (0, 1):
        samples = TrainingSamples(one, 2, WHOLE, Normalisation(), seed=0)
        with pytest.raises(DataError, match=message) as caught:
            list(batches(samples, 2, workers=workers))
        assert "Traceback" not in str(caught.value)
    with pytest.raises(DataError, match=message):
        TrainingSamples(one, 2, WHOLE, Normalisation(), seed=0, in_memory=True)


def test_an_image_without_labels_ends_a_run_that_stops_before_it_begins(folder):
    with pytest.raises(DataError, match=r"1 of 11 images have no labels; .*d\.png"):
        open_dataset(folder, "train")


def test_every_item_of_a_run_that_skips_is_a_good_one_and_tells_what_it_replaced(folder):
    samples = _samples(folder)
    items = [samples[index] for index in range(len(samples))]
    assert {_name(item) for item in items} == set(GOOD)
    assert {skipped.name for item in items for skipped in item.skipped} == set("bfhj")
    for epoch in range(4):  # of ten samples: the good ones in their own places, four replaced
        epoch_items = items[10 * epoch : 10 * epoch + 10]
        assert {_name(item) for item in epoch_items if not item.skipped} == set(GOOD)
        assert sum(bool(item.skipped) for item in epoch_items) == 4


def test_the_same_sample_takes_its_place_whoever_loads_it(folder):
    one, held = _samples(folder), _samples(folder, in_memory=True)
    alone = [one[index] for index in range(len(one))]
    for index in reversed(range(len(one))):
        _same(held[index], alone[index])
    together = [
        batch
        for rank in range(2)
        for batch in batches(_samples(folder), 4, workers=2, first=3, rank=rank, world=2)
    ]
    expected = [alone[k] for rank in range(2) for start in range(12, 44, 4) for k in
                (start + 2 * rank, start + 2 * rank + 1)]  # fmt: skip
    assert torch.equal(
        torch.cat([batch.image for batch in together]), torch.stack([e.image for e in expected])
    )
    assert [s for batch in together for s in batch.skipped] == [s for e in expected for s in e.skipped]


@pytest.mark.parametrize("in_memory", [False, True])
def test_pixels_are_counted_without_the_bad_labels(folder, in_memory):
    """The bad samples f, h and j have labels in order; b has not."""
    counts = _samples(folder, in_memory=in_memory).count_pixels(2)
    np.testing.assert_array_equal(counts, [80 * len(GOOD) + 90, 2 * 80])


def test_pixels_are_counted_from_the_labels_alone(folder):
    for image in (folder / "train/images").iterdir():
        image.write_bytes(b"")
    counts = _samples(folder).count_pixels(2)
    np.testing.assert_array_equal(counts, [80 * len(GOOD) + 90, 2 * 80])
    with pytest.raises(DataError, match=r"b\.png holds the label value 77"):
        _samples(folder, policy="stop").count_pixels(2)


def test_a_dataset_of_bad_samples_alone_is_an_error_and_no_endless_loop(folder):
    for name in GOOD:
        (folder / f"train/labels/{name}.png").write_bytes(b"")
    message = re.compile(r"none of the 10 samples can be read; the first: .*png")
    with pytest.raises(DataError, match=message):
        _samples(folder)[3]
    with pytest.raises(DataError, match=message):
        _samples(folder, in_memory=True)
    for label in (folder / "train/labels").iterdir():
        label.write_bytes(b"")
    with pytest.raises(DataError, match=message):
        _samples(folder).count_pixels(2)


def test_the_choice_is_stop_and_can_be_made_on_the_command_line(folder, tmp_path):
    assert read_config("cityscapes_r50_512x1024_80k").bad_samples == "stop"
    assert read_config("demo", bad_samples="skip").bad_samples == "skip"
    import typer

    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(
        app, ["--data", str(folder), "-o", str(tmp_path / "c.pt"), "--bad-samples", "ignore"]
    )
    assert result.exit_code == 2
