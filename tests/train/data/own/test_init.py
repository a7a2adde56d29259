"""``danet data init``: from pictures and masks of any kind to a data set that training reads as it is."""

import json

import cv2
import numpy as np
import PIL.Image
import pytest
import typer
from own_folders import COLORS, colored, grey, own_folder, palette, smoothed, truth
from typer.testing import CliRunner

from danet_train import open_dataset
from danet_train.cli.data import data
from danet_train.cli.train import train
from danet_train.data.datasets.survey import survey
from danet_train.errors import DataError, UsageError

TINY = """
model: {depth: 18, base_channels: 4, stem_channels: 4, head_channels: 8, attention_channels: 4}
augmentation: {crop_hw: [32, 48]}
batch_size: 2
device: cpu
threads: 1
"""


def _init(folder, out, *options):
    arguments = ["init", folder, "-o", out, *options]
    return CliRunner().invoke(data, [str(argument) for argument in arguments], env={"COLUMNS": "400"})


def _content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _labels(out):
    """Labels by the name of the picture, of both splits, and the class table."""
    splits = [open_dataset(out, split) for split in ("train", "val")]
    return {sample.name: sample.label for split in splits for sample in split}, splits[0].classes


def _colors_of(out):
    """For each picture its labels as colors of the class table, so that the order of classes is no matter."""
    labels, table = _labels(out)
    return {name: table.palette()[label] for name, label in labels.items()}


@pytest.mark.parametrize("kind", [colored, palette])
def test_masks_in_colors_become_the_same_colors_again(tmp_path, kind):
    folder = own_folder(tmp_path / "photos", kind)
    before = _content(folder)
    done = _init(folder, tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert _content(folder) == before
    colors = _colors_of(tmp_path / "set")
    assert len(colors) == 12
    for seed, name in enumerate(sorted(colors)):
        np.testing.assert_array_equal(colors[name], np.array(COLORS)[truth(seed)])


def test_grey_masks_keep_their_values_as_classes(tmp_path):
    done = _init(own_folder(tmp_path / "photos", grey), tmp_path / "set", "--name", "1=ground")
    assert done.exit_code == 0, done.output
    labels, table = _labels(tmp_path / "set")
    assert table.names == ("class 0", "ground", "class 2", "class 3", "class 4")
    assert len(set(table.colors)) == 5
    for seed, name in enumerate(sorted(labels)):
        np.testing.assert_array_equal(labels[name], truth(seed))


@pytest.mark.parametrize(
    ("image", "label", "options"),
    [
        ("images/{name}.png", "labels/{name}.png", ()),
        ("JPEGImages/{name}.jpg", "SegmentationClass/{name}.png", ()),
        ("{name}.jpg", "{name}_mask.png", ()),
        ("{name}_sat.jpg", "{name}_sat-label.bmp", ()),
        ("a/img/{name}.JPG", "a/Annotations/{name}_gtFine_labelIds.png", ()),
        ("train_images/x/{name}.jpeg", "train_masks/x/{name}.png", ()),
        ("images/img_{name}.jpg", "masks/mask_{name}.png", ()),
        ("images/deep/er/{name}.jpg", "masks/{name}.tif", ()),
        ("IMAGES/{name}.jpg", "ground_truth/{name}.png", ()),
        ("odd/{name}.jpg", "ends/{name}.png", ("--images", "odd", "--masks", "ends")),
    ],
)
def test_pictures_and_masks_are_found_by_the_names_that_people_give(
    tmp_path, monkeypatch, image, label, options
):
    own_folder(
        tmp_path / "p", image=image, label=label.replace("D{name}", "{name}"), names=("d1", "d2", "e1")
    )
    monkeypatch.chdir(tmp_path / "p")
    done = _init(tmp_path / "p", tmp_path / "set", *options)
    assert done.exit_code == 0, done.output
    assert "3 pictures with a mask" in done.output
    colors = _colors_of(tmp_path / "set")
    for seed, name in enumerate(sorted(colors)):
        np.testing.assert_array_equal(colors[name], np.array(COLORS)[truth(seed)])


def test_names_that_differ_in_case_are_paired_and_it_is_said(tmp_path):
    own_folder(
        tmp_path / "p", image="images/IMG_{name}.jpg", label="masks/img_{name}.PNG", names=("A1", "A2")
    )
    for path in (tmp_path / "p" / "masks").iterdir():
        path.rename(path.with_name(path.name.lower()))
    done = _init(tmp_path / "p", tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert "2 of the pairs have names that differ in case; the first: IMG_A1.jpg" in done.output


def test_pictures_and_masks_without_a_partner_are_left_out_and_counted(tmp_path):
    folder = own_folder(tmp_path / "p")
    (folder / "masks" / "drive0_0001.png").unlink()
    (folder / "images" / "drive0_0002.jpg").unlink()
    (folder / "notes.txt").write_text("x")
    done = _init(folder, tmp_path / "set")
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "10 pictures with a mask" in words
    assert "drive0_0001.jpg: a picture without a mask" in words
    assert "drive0_0002.png: a mask without a picture" in words
    assert "notes.txt: no picture by its suffix" in words


def test_two_masks_of_one_picture_are_refused_with_both_names(tmp_path):
    folder = own_folder(tmp_path / "p")
    colored(truth(0)).save(folder / "masks" / "drive0_0000_seg.png")
    (folder / "masks" / "drive0_0000.png").rename(folder / "masks" / "drive0_0000_mask.png")
    done = _init(folder, tmp_path / "set")
    assert isinstance(done.exception, DataError)
    assert "2 masks belong to one picture" in str(done.exception)
    assert "drive0_0000_mask.png" in str(done.exception)


def test_frames_of_one_drive_stay_in_one_split(tmp_path):
    done = _init(own_folder(tmp_path / "p"), tmp_path / "set", "--val", 0.5)
    assert done.exit_code == 0, done.output
    drives = [
        {name.split("_")[0] for name in open_dataset(tmp_path / "set", s).names} for s in ("train", "val")
    ]
    assert drives[0] | drives[1] == {"drive0", "drive1", "drive2", "drive3"}
    assert not drives[0] & drives[1]
    assert len(drives[0]) == len(drives[1]) == 2
    assert "by sequence, 4 of them" in " ".join(done.output.split())


def test_the_splits_that_folders_name_stay(tmp_path):
    own_folder(
        tmp_path / "p", image="train/images/{name}.jpg", label="train/masks/{name}.png", names=("a", "b")
    )
    own_folder(tmp_path / "p", image="valid/images/{name}.jpg", label="valid/masks/{name}.png", names=("c",))
    done = _init(tmp_path / "p", tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert open_dataset(tmp_path / "set", "train").names == ("a", "b")
    assert open_dataset(tmp_path / "set", "val").names == ("c",)


def test_the_same_seed_gives_the_same_files_and_another_other_splits(tmp_path):
    folder = own_folder(tmp_path / "p")
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        assert _init(folder, tmp_path / name, "--split-by", "random", "--seed", seed).exit_code == 0
    assert _content(tmp_path / "one") == _content(tmp_path / "two")
    assert _content(tmp_path / "one").keys() != _content(tmp_path / "three").keys()


def test_smoothed_borders_are_ignored_with_a_warning_where_they_are_few(tmp_path):
    folder = own_folder(tmp_path / "p")
    for seed, path in enumerate(sorted((folder / "masks").iterdir())):
        smoothed(seed).save(path)
    done = _init(folder, tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert "smoothed borders" in done.output
    labels, table = _labels(tmp_path / "set")
    assert set(table.colors) == set(COLORS)
    order = np.array([table.colors.index(color) for color in COLORS])
    for seed, name in enumerate(sorted(labels)):
        parts = order[truth(seed, scale=4)].reshape(48, 4, 64, 4).transpose(0, 2, 1, 3).reshape(48, 64, 16)
        is_pure = parts.min(axis=2) == parts.max(axis=2)
        assert 0.93 < is_pure.mean() < 1
        assert (labels[name] == parts[..., 0])[is_pure].all()
        assert ((labels[name] == 255) | (labels[name][..., None] == parts).any(axis=2)).all()


def test_masks_that_are_smoothed_all_over_are_refused(tmp_path):
    folder = own_folder(tmp_path / "p")
    for seed, path in enumerate(sorted((folder / "masks").iterdir())):
        blurred = cv2.GaussianBlur(np.array(smoothed(seed)), (7, 7), 0)
        PIL.Image.fromarray(blurred).save(path)
    done = _init(folder, tmp_path / "set")
    assert isinstance(done.exception, DataError)
    assert "colors in between" in str(done.exception)
    assert not (tmp_path / "set").exists()


def _jpeg(folder):
    colored(truth(0)).save(folder / "masks" / "drive0_0000.jpg", quality=95)
    (folder / "masks" / "drive0_0000.png").unlink()


def _renamed_jpeg(folder):
    colored(truth(0)).save(folder / "masks" / "drive0_0000.png", format="JPEG")


def _cut(folder):
    path = folder / "masks" / "drive0_0000.png"
    path.write_bytes(path.read_bytes()[:-30])


def _huge(folder):
    path = folder / "masks" / "drive0_0000.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:16] + (60000).to_bytes(4, "big") * 2 + whole[24:])


def _other_size(folder):
    colored(truth(0)[:-4]).save(folder / "masks" / "drive0_0000.png")


def _wide_colors(folder):
    wide = np.array(COLORS, np.uint16)[truth(0)] * 257
    cv2.imwrite(str(folder / "masks" / "drive0_0000.png"), wide)


def _wide_values(folder):
    PIL.Image.fromarray(truth(0).astype(np.uint16) * 1000).save(folder / "masks" / "drive0_0000.png")


def _grey_among_colors(folder):
    grey(truth(0)).save(folder / "masks" / "drive0_0000.png")


def _photograph(folder):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for kind in ("masks", "images"):
        for old in (folder / kind).glob("drive0_0000.*"):
            old.unlink()
        PIL.Image.fromarray(noise).save(folder / kind / "drive0_0000.png")


def _damaged_picture(folder):
    path = folder / "images" / "drive0_0000.jpg"
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_jpeg, "a mask stored as JPEG"),
        (_renamed_jpeg, "a mask stored as JPEG"),
        (_cut, "drive0_0000.png is cut off"),
        (_huge, "60000x60000"),
        (_other_size, "is 64x48, but"),
        (_wide_colors, "colors of 16 bits"),
        (_wide_values, "values of 16 bits up to 4000"),
        (_grey_among_colors, "a grey mask, where"),
        (_photograph, "colors; a mask has one for each class"),
        (_damaged_picture, "drive0_0000.jpg"),
    ],
)
def test_files_that_cannot_be_taken_are_all_named_and_nothing_is_written(tmp_path, spoil, words):
    folder = own_folder(tmp_path / "p")
    spoil(folder)
    colored(truth(1)[:, 3:]).save(folder / "masks" / "drive0_0001.png")
    done = _init(folder, tmp_path / "set")
    assert isinstance(done.exception, DataError)
    assert str(done.exception).startswith("2 of 12 pairs cannot be taken")
    assert words in done.output
    assert "drive0_0001" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    skipped = _init(folder, tmp_path / "set", "--bad-samples", "skip")
    assert skipped.exit_code == 0, skipped.output
    assert len(_colors_of(tmp_path / "set")) == 10


def test_an_output_that_is_there_or_lies_in_the_originals_is_refused(tmp_path):
    folder = own_folder(tmp_path / "p")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for out, options, words in (
        (tmp_path / "mine", (), "exists already"),
        (tmp_path / "mine", ("--overwrite",), "it has no dataset.json of this command, but thesis.txt"),
        (folder / "set", (), "lie in each other"),
        (tmp_path, ("--overwrite",), "lie in each other"),
    ):
        done = _init(folder, out, *options)
        assert isinstance(done.exception, UsageError)
        assert words in str(done.exception)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_what_it_made_before_is_replaced_when_asked_to(tmp_path):
    assert _init(own_folder(tmp_path / "p"), tmp_path / "set").exit_code == 0
    other = own_folder(tmp_path / "q", names=("x1", "y1"))
    assert isinstance(_init(other, tmp_path / "set").exception, UsageError)
    assert _init(other, tmp_path / "set", "--overwrite").exit_code == 0
    assert set(_colors_of(tmp_path / "set")) == {"x1", "y1"}
    assert {path.name for path in tmp_path.iterdir()} == {"p", "q", "set"}


def test_pictures_are_copied_or_linked_when_asked_to(tmp_path):
    folder = own_folder(tmp_path / "p")
    assert _init(folder, tmp_path / "copied").exit_code == 0
    assert _init(folder, tmp_path / "linked", "--hard-link").exit_code == 0
    for out, links in (("copied", 1), ("linked", 2)):
        pictures = list((tmp_path / out).rglob("*.jpg"))
        assert len(pictures) == 12
        assert all(path.stat().st_nlink == links for path in pictures)


def test_a_class_table_is_held_to(tmp_path):
    folder = own_folder(tmp_path / "p")
    table = tmp_path / "classes.yaml"
    lines = [f"- {{name: n{i}, color: {list(color)}}}" for i, color in enumerate(COLORS)]
    table.write_text("\n".join(["- {name: extra, color: [1, 2, 3]}", *lines]))
    done = _init(folder, tmp_path / "set", "--classes", table)
    assert done.exit_code == 0, done.output
    labels, read = _labels(tmp_path / "set")
    assert read.names == ("extra", "n0", "n1", "n2", "n3", "n4")
    np.testing.assert_array_equal(labels["drive0_0000"], truth(0) + 1)
    table.write_text("\n".join(lines[:-1]))
    done = _init(folder, tmp_path / "none", "--classes", table)
    assert isinstance(done.exception, DataError)
    assert "#c8c8c8" in str(done.exception)


@pytest.mark.slow
def test_the_result_trains_with_no_further_file(tmp_path):
    assert _init(own_folder(tmp_path / "p"), tmp_path / "set").exit_code == 0
    app = typer.Typer()
    app.command()(train)
    (tmp_path / "tiny.yaml").write_text(TINY)
    arguments = ["--data", tmp_path / "set", "--config", tmp_path / "tiny.yaml", "--steps", 1]
    done = CliRunner().invoke(app, [str(a) for a in (*arguments, "-o", tmp_path / "c.pt")])
    assert done.exit_code == 0, done.output
    assert "color faaa1e" in done.output
    record = json.loads((tmp_path / "c.json").read_text())
    assert len(record["iou"]) == 5


def test_pictures_that_exif_turns_are_taken_with_masks_of_either_size(tmp_path):
    folder = own_folder(tmp_path / "p", names=("a1", "b1"))
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    for name, is_stored in (("a1", True), ("b1", False)):
        path = folder / "images" / f"{name}.jpg"
        picture = PIL.Image.open(path)
        picture.load()
        picture.save(path, exif=turned)
        mask = folder / "masks" / f"{name}.png"
        if not is_stored:
            PIL.Image.open(mask).transpose(PIL.Image.Transpose.ROTATE_270).save(mask)
    assert _init(folder, tmp_path / "set").exit_code == 0
    colors = _colors_of(tmp_path / "set")
    for seed, name in enumerate(("a1", "b1")):
        np.testing.assert_array_equal(colors[name], np.rot90(np.array(COLORS)[truth(seed)], 3))
    for split in ("train", "val"):
        assert survey(open_dataset(tmp_path / "set", split), split).turned == 1


def test_a_folder_in_a_layout_that_training_reads_is_noted(tmp_path):
    folder = own_folder(tmp_path / "p", image="JPEGImages/{name}.jpg", label="SegmentationClass/{name}.png")
    assert "lies as" not in _init(folder, tmp_path / "one").output
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    assert "lies as PASCAL VOC does" in _init(folder, tmp_path / "two").output
