"""A data set takes what lies in it, or counts and names what it leaves out: one rule for all commands."""

import json
import os
import re
import unicodedata

import numpy as np
import pytest
import typer
from labelled_folders import bgr, plain_folder, put, scene
from typer.testing import CliRunner

from danet_calibration.images.pictures import find_pictures
from danet_train import open_dataset
from danet_train.cli.evaluate import evaluate
from danet_train.data.datasets.survey import survey, survey_lines
from danet_train.errors import DataError


def survey_text(root, split="val"):
    dataset = open_dataset(root, split)
    return " ".join(survey_lines(dataset, split, survey(dataset, split)))


@pytest.mark.parametrize(
    "suffix",
    [
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pnm",
        ".PNG",
        ".BMP",
        ".Tif",
        ".jpg",
        ".JPG",
        ".jfif",
        ".jpe",
    ],
)
def test_pictures_of_every_suffix_are_taken_by_all(tmp_path, suffix):
    plain_folder(tmp_path)
    for split in ("train", "val"):
        image = bgr(tmp_path / split / "images/s2.png")
        (tmp_path / split / "images/s2.png").unlink()
        put(tmp_path / split / f"images/s2{suffix}", image[..., ::-1])
    dataset = open_dataset(tmp_path, "val")
    assert dataset.names == ("s0", "s1", "s2", "s3")
    assert np.abs(dataset[2].image.astype(int) - bgr_of(102)).mean() < (20 if suffix[1] in "jJ" else 1)
    assert not dataset.left_out
    assert len(find_pictures(tmp_path).groups) == 4


def bgr_of(seed):
    return scene(seed)[0][..., ::-1]


def test_pictures_in_folders_are_taken_with_the_labels_of_the_same_folders(tmp_path):
    plain_folder(tmp_path)
    for place in ("a/deep", "b"):
        put(tmp_path / f"val/images/{place}/s0.png", scene(7)[0])
        put(tmp_path / f"val/labels/{place}/s0.PNG", scene(7)[1])
    dataset = open_dataset(tmp_path, "val")
    assert dataset.names == ("a/deep/s0", "b/s0", "s0", "s1", "s2", "s3")
    np.testing.assert_array_equal(dataset[1].label, scene(7)[1])
    assert len(find_pictures(tmp_path / "val").groups) == 6


@pytest.mark.parametrize("folder", [".ipynb_checkpoints", ".thumbnails/large"])
def test_hidden_folders_are_left_out_by_training_and_calibration_alike(tmp_path, folder):
    plain_folder(tmp_path)
    for split in ("train", "val"):
        put(tmp_path / split / "images" / folder / "s1-checkpoint.png", scene(1)[0])
    dataset = open_dataset(tmp_path, "val")
    assert dataset.names == ("s0", "s1", "s2", "s3")
    assert re.search(rf"left out 1 file: \S*/{folder.split('/')[0]}: a hidden folder", survey_text(tmp_path))
    found = find_pictures(tmp_path)
    assert len(found.groups) == 4
    assert [entry.why for entry in found.left_out] == ["a hidden folder"]


@pytest.mark.parametrize("taken_apart", ["images", "labels"])
def test_letters_with_marks_are_one_name_however_a_system_spells_them(tmp_path, taken_apart):
    plain_folder(tmp_path)
    for kind, pixels in zip(("images", "labels"), scene(7), strict=True):
        name = "Stra\u00dfe-M\u00fcnchen"
        spelt = unicodedata.normalize("NFD" if kind == taken_apart else "NFC", name)
        put(tmp_path / "val" / kind / f"{spelt}.png", pixels)
    dataset = open_dataset(tmp_path, "val")
    assert len(dataset) == 5
    np.testing.assert_array_equal(dataset[0].label, scene(7)[1])
    assert not dataset.left_out


@pytest.mark.parametrize("second", ["s1.PNG", "s1.bmp", "s1.tif"])
def test_a_second_label_of_one_name_is_counted_and_named(tmp_path, second):
    plain_folder(tmp_path)
    put(tmp_path / "val/labels" / second, np.zeros((32, 48), np.uint8))
    dataset = open_dataset(tmp_path, "val")
    assert len(dataset) == 4
    pattern = r"left out 1 file: \S*s1\.(PNG|png|bmp|tif): a second label beside s1\.(png|PNG)"
    assert re.search(pattern, survey_text(tmp_path))


def test_calibration_names_links_that_lead_nowhere_and_pipes(tmp_path):
    plain_folder(tmp_path)
    (tmp_path / "train/images/gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "train/images/pipe.png")
    found = find_pictures(tmp_path)
    assert len(found.groups) == 4
    assert [entry.why for entry in found.left_out] == ["no regular file, or a link that leads nowhere"] * 2


LEFT = {
    "._s1.png": r"\._s1\.png.*: a hidden file",
    ".DS_Store": r"\.DS_Store.*: a hidden file",
    "notes.txt": r"notes\.txt.*: no picture by its suffix",
    "film.gif": r"film\.gif.*: no picture by its suffix",
}


@pytest.mark.parametrize("name", LEFT)
def test_other_files_are_counted_and_named_by_training_and_calibration_alike(tmp_path, name):
    plain_folder(tmp_path)
    for split in ("train", "val"):
        (tmp_path / split / "images" / name).write_bytes(b"\0\5\x16\7")
    dataset = open_dataset(tmp_path, "val")
    assert len(dataset) == 4
    assert re.search("left out 1 file: .*" + LEFT[name], survey_text(tmp_path))
    found = find_pictures(tmp_path)
    assert len(found.groups) == 4
    assert [entry.why for entry in found.left_out] == [entry.why for entry in dataset.left_out]


def test_a_label_without_an_image_is_counted_and_named(tmp_path):
    plain_folder(tmp_path)
    for name in ("s3.png", "s2.png"):
        (tmp_path / "val/images" / name).unlink()
    (tmp_path / "val/labels/._s0.png").write_bytes(b"")
    text = survey_text(tmp_path)
    assert "left out 3 files" in text
    assert "labels/s2.png and 1 more: a label without an image in" in text
    assert "._s0.png" in text


def test_an_image_without_labels_is_an_error_that_tells_what_lies_beside(tmp_path):
    plain_folder(tmp_path)
    (tmp_path / "val/labels/s1.png").rename(tmp_path / "val/labels/s1.bmp")
    with pytest.raises(DataError, match=r"1 of 4 images have no labels.*s1\.png \(s1\.bmp is there, but"):
        open_dataset(tmp_path, "val")
    dataset = open_dataset(tmp_path, "val", bad_samples="skip")
    assert [entry.name for entry in dataset.skipped] == ["s1"]


def test_nothing_but_files_that_are_left_out_is_an_error_that_names_them(tmp_path):
    plain_folder(tmp_path, ("train",))
    put(tmp_path / "val/labels/a.png", scene(0)[1])
    (tmp_path / "val/images").mkdir()
    (tmp_path / "val/images/a.heic").write_bytes(b"")
    with pytest.raises(DataError, match=r"no image in .*left out 2 files: .*a\.heic"):
        open_dataset(tmp_path, "val")


def test_cityscapes_names_what_does_not_fit(tmp_path):
    for name in ("a_000", "a_001"):
        put(tmp_path / f"leftImg8bit/val/a/{name}_leftImg8bit.png", scene(0)[0])
        put(tmp_path / f"gtFine/val/a/{name}_gtFine_labelIds.png", scene(0)[1] + 7)
    put(tmp_path / "leftImg8bit/val/a/a_002_leftImg8bit.jpg", scene(0)[0])
    put(tmp_path / "gtFine/val/a/a_003_gtFine_labelIds.png", scene(0)[1] + 7)
    dataset = open_dataset(tmp_path, "val")
    assert dataset.names == ("a/a_000", "a/a_001")
    text = survey_text(tmp_path)
    assert "a_002_leftImg8bit.jpg: not named *_leftImg8bit.png" in text
    assert "a_003_gtFine_labelIds.png: a label without an image" in text


def test_ade20k_takes_pictures_of_other_suffixes(tmp_path):
    for name in ("a.jpg", "b.JPG", "c.png"):
        put(tmp_path / "images/validation" / name, scene(0)[0])
        put(tmp_path / f"annotations/validation/{name[0]}.png", scene(0)[1] + 1)
    assert open_dataset(tmp_path, "val").names == ("a", "b", "c")


def test_evaluation_says_and_records_it(tmp_path, checkpoint):
    plain_folder(tmp_path / "set")
    (tmp_path / "set/val/images/s9.gif").write_bytes(b"")
    app = typer.Typer()
    app.command()(evaluate)
    out = tmp_path / "s.json"
    done = CliRunner().invoke(app, [str(checkpoint), "--data", str(tmp_path / "set"), "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert "left out 1 file" in done.output
    assert "no label holds 1 of the 4 classes: tree" in done.output
    record = json.loads(out.read_text())
    assert record["left_out"][0]["name"].endswith("s9.gif")
    assert record["iou"]["sky"] is not None
