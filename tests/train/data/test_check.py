"""``danet data check`` names every bad file and counts the classes; a training tries a sample before."""

import json

import numpy as np
import PIL.Image
import pytest
import typer
from labelled_folders import CLASSES, plain_folder, put, scene
from typer.testing import CliRunner

from danet_runtime.cli.app import build_app
from danet_train.cli.data import data
from danet_train.cli.train import train
from danet_train.errors import DataError, NoDatasetError

TINY = """
model: {depth: 18, base_channels: 4, stem_channels: 4, head_channels: 8, attention_channels: 4}
augmentation: {crop_hw: [32, 48]}
batch_size: 2
device: cpu
threads: 1
"""


def _check(folder, *options):
    arguments = ["check", folder, *options]
    return CliRunner().invoke(data, [str(argument) for argument in arguments], env={"COLUMNS": "80"})


@pytest.fixture
def folder(tmp_path):
    return plain_folder(tmp_path / "set")


def _cut(folder):
    path = folder / "train" / "images" / "s1.png"
    path.write_bytes(path.read_bytes()[:-20])


def _other_size(folder):
    put(folder / "train" / "labels" / "s1.png", scene(1, (16, 48))[1])


def _unknown_value(folder):
    label = scene(1)[1]
    label[0, 0] = 77
    put(folder / "train" / "labels" / "s1.png", label)


def _no_label(folder):
    (folder / "train" / "labels" / "s1.png").unlink()


def _colors(folder):
    put(folder / "train" / "labels" / "s1.png", scene(1)[0])


def _huge(folder):
    path = folder / "train" / "images" / "s1.png"
    data = path.read_bytes()
    path.write_bytes(data[:16] + (60000).to_bytes(4, "big") * 2 + data[24:])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_cut, "s1.png is cut off"),
        (_other_size, "is 48x32, but"),
        (_unknown_value, "label value 77"),
        (_no_label, "s1.png has no labels"),
        (_colors, "holds colors"),
        (_huge, "60000x60000"),
    ],
)
def test_all_bad_files_are_in_one_list_and_the_exit_code_is_1(folder, spoil, words):
    spoil(folder)
    (folder / "val" / "images" / "s2.png").write_bytes(b"no picture")
    done = _check(folder)
    assert done.exit_code == 1
    bad = [line for line in done.output.splitlines() if line.startswith("bad: ")]
    assert len(bad) == 2
    assert bad[0].startswith("bad: train: ")
    assert words in bad[0]
    assert bad[1].startswith("bad: val: ")
    assert "s2.png" in bad[1]


def test_classes_are_counted_by_pixels_and_pictures_in_each_split(folder, tmp_path):
    done = _check(folder, "--json", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["is_sound"]
    assert list(found["splits"]) == ["train", "val"]
    for offset, split in enumerate(("train", "val")):
        labels = np.stack([scene(100 * offset + index)[1] for index in range(4)])
        part = found["splits"][split]
        assert part["pixels"] == {name: int((labels == index).sum()) for index, name in enumerate(CLASSES)}
        assert part["pictures"] == {"road": 4, "car": 4, "sky": 4, "tree": 0}
        assert part["sizes"] == {"32x48": 4}
        assert part["classes_that_never_occur"] == ["tree"]
    assert "train: no label holds tree" in done.output
    assert max(map(len, done.output.splitlines())) <= 80 or "set" in done.output


def test_standard_output_is_json_alone_when_asked_for(folder):
    _cut(folder)
    done = CliRunner().invoke(build_app(), ["data", "check", str(folder), "--json", "-"])
    assert done.exit_code == 1
    assert [bad["name"] for bad in json.loads(done.stdout)["splits"]["train"]["bad"]] == ["s1"]


@pytest.mark.parametrize(
    "names", [("a", "b"), ("a class of an exceedingly long name", "another that is as long")]
)
def test_tables_fit_80_columns_and_cut_no_name(tmp_path, names):
    folder = plain_folder(tmp_path / "s")
    table = [f"class {index} {name}" for index, name in enumerate((*names, "c", "d"))]
    (folder / "classes.yaml").write_text(json.dumps(table))
    done = _check(folder)
    assert done.exit_code == 0, done.output
    tables = [line for line in done.output.splitlines() if not line.startswith(("note:", str(tmp_path)))]
    assert max(map(len, tables)) <= 80
    assert "…" not in done.output


def test_labels_that_cannot_be_learned_from_are_bad(folder):
    for path in (folder / "val" / "labels").iterdir():
        put(path, np.full((32, 48), 255, np.uint8))
    done = _check(folder)
    assert done.exit_code == 1
    assert "bad: val: the labels of all 4 images are ignored everywhere" in done.output
    assert _check(folder, "--split", "train").exit_code == 0


def test_the_same_picture_in_two_splits_is_noted(folder):
    picture = (folder / "train" / "images" / "s0.png").read_bytes()
    (folder / "val" / "images" / "s3.png").write_bytes(picture)
    done = _check(folder)
    assert done.exit_code == 0
    assert "1 pictures of val are in train too" in " ".join(done.output.split())


def test_pictures_that_exif_turns_are_counted(folder):
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    path = folder / "train" / "images" / "s0.png"
    with PIL.Image.open(path) as picture:
        picture.load()
    picture.save(path, exif=turned)
    assert _check(folder, "--json", folder / "found.json").exit_code == 0
    found = json.loads((folder / "found.json").read_text())
    assert found["splits"]["train"]["turned_by_exif"] == {"stored": 1}


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path):
    assert isinstance(_check(tmp_path / "none").exception, NoDatasetError)


def test_a_training_names_the_bad_pairs_of_a_sample_before_the_first_step(folder, tmp_path):
    _cut(folder)
    put(folder / "train" / "labels" / "s2.png", scene(1, (16, 48))[1])
    app = typer.Typer()
    app.command()(train)
    (tmp_path / "tiny.yaml").write_text(TINY)
    arguments = ["--data", folder, "--config", tmp_path / "tiny.yaml", "--steps", 1, "-o", tmp_path / "c.pt"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, DataError)
    message = str(done.exception)
    assert "s1.png is cut off" in message
    assert "s2.png is 48x16" in message
    assert "2 of 4 pairs of train" in message
    assert "step 1" not in done.output
