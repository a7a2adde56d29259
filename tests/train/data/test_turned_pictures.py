"""Pictures that EXIF turns, and their labels: upright together, or refused in words."""

import json

import numpy as np
import pytest
import typer
from labelled_folders import plain_folder, put, scene
from picture_kinds import png_chunk, saved, upright, with_exif
from PIL import Image
from typer.testing import CliRunner

from danet_train import open_dataset
from danet_train.cli.evaluate import evaluate
from danet_train.cli.explain import explain
from danet_train.data.datasets.survey import survey, survey_lines
from danet_train.data.samples.sample import read_label
from danet_train.errors import DataError


def _run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def turned_set(root, orientation, *, labels, form="PNG", size_hw=(32, 48), count=3):
    """Scenes stored turned, so that EXIF makes them ``upright``; labels lie upright or as stored."""
    plain_folder(root, ())
    for index in range(count):
        stored_image, stored_label = scene(index, size_hw)
        folder = root / "val"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "images" / f"s{index}.{form.lower()}").write_bytes(
            with_exif(stored_image, form, orientation)
        )
        label = upright(stored_label, orientation) if labels == "upright" else stored_label
        put(folder / "labels" / f"s{index}.png", label)
    return root


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_labels_fit_as_they_are(tmp_path, orientation, form):
    dataset = open_dataset(turned_set(tmp_path, orientation, labels="upright", form=form), "val")
    image, label = scene(1)
    sample = dataset[1]
    np.testing.assert_array_equal(sample.label, upright(label, orientation))
    assert np.abs(sample.image[..., ::-1].astype(int) - upright(image, orientation)).mean() < 4


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_the_stored_size_are_turned_with_their_picture(tmp_path, orientation):
    dataset = open_dataset(turned_set(tmp_path, orientation, labels="stored"), "val")
    image, label = scene(1)
    np.testing.assert_array_equal(dataset[1].label, upright(label, orientation))
    np.testing.assert_array_equal(dataset[1].image[..., ::-1], upright(image, orientation))
    found = survey(dataset, "val")
    assert (found.turned, found.turned_labels) == (3, 3)
    assert "3 of 3 pictures upright; the labels of 3" in " ".join(survey_lines(dataset, "val", found))


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_scores_are_those_of_the_same_pictures_without_exif(tmp_path, checkpoint, orientation):
    turned_set(tmp_path / "exif", orientation, labels="upright")
    for index in range(3):
        image, label = scene(index)
        put(tmp_path / "plain" / "val" / "images" / f"s{index}.png", upright(image, orientation))
        put(tmp_path / "plain" / "val" / "labels" / f"s{index}.png", upright(label, orientation))
    plain_folder(tmp_path / "plain", ())
    scores = []
    for name in ("exif", "plain"):
        out = tmp_path / f"{name}.json"
        done = _run(evaluate, checkpoint, "--data", tmp_path / name, "--json", out, "--device", "cpu")
        assert done.exit_code == 0, done.output
        assert ("EXIF turns 3 of 3 pictures" in done.output.replace("\n", " ")) == (name == "exif")
        record = json.loads(out.read_text())
        scores.append({key: record[key] for key in ("miou", "iou", "accuracy", "pixels")})
    assert scores[0] == scores[1]


@pytest.mark.parametrize(("orientation", "size_hw"), [(3, (32, 48)), (6, (40, 40)), (2, (32, 48))])
def test_labels_that_lie_as_stored_elsewhere_make_the_unclear_ones_an_error(tmp_path, orientation, size_hw):
    turned_set(tmp_path, 8, labels="stored")
    image, label = scene(9, size_hw)
    (tmp_path / "val/images/z.png").write_bytes(with_exif(image, "PNG", orientation))
    put(tmp_path / "val/labels/z.png", label)
    dataset = open_dataset(tmp_path, "val")
    with pytest.raises(DataError, match=r"s0\.png, and its labels lie as it is stored.*z\.png too.*Turn the"):
        survey(dataset, "val")


def test_labels_of_neither_size_are_refused_with_both(tmp_path):
    turned_set(tmp_path, 6, labels="upright")
    put(tmp_path / "val/labels/s1.png", scene(0, (32, 47))[1])
    with pytest.raises(DataError, match=r"s1\.png is 32x48, but .*s1\.png is 47x32"):
        open_dataset(tmp_path, "val")[1]


def test_a_picture_without_exif_and_labels_turned_by_a_quarter_are_refused(tmp_path):
    turned_set(tmp_path, 1, labels="upright")
    put(tmp_path / "val/labels/s1.png", np.ascontiguousarray(scene(1)[1].T))
    with pytest.raises(DataError, match=r"s1\.png is 48x32, but .*s1\.png is 32x48"):
        open_dataset(tmp_path, "val")[1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("palette", [False, True])
def test_exif_of_the_labels_own_file_is_obeyed(tmp_path, orientation, palette):
    label = scene(0)[1]
    picture = Image.fromarray(label)
    if palette:
        picture.putpalette([*range(30)])
    data, exif = saved(picture, "PNG"), Image.Exif()
    exif[0x0112] = orientation
    at = data.index(b"IDAT") - 4
    (tmp_path / "l.png").write_bytes(data[:at] + png_chunk(b"eXIf", exif.tobytes()[6:]) + data[at:])
    np.testing.assert_array_equal(read_label(tmp_path / "l.png"), upright(label, orientation))


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["upright", pytest.param("stored", marks=pytest.mark.slow)])
def test_explain_sees_the_upright_picture_and_takes_either_labels(tmp_path, checkpoint, labels):
    root = turned_set(tmp_path / "set", 6, labels=labels, form="JPEG")
    done = _run(
        explain,
        checkpoint,
        root / "val/images/s0.jpeg",
        "-o",
        tmp_path / "x.png",
        "--label",
        root / "val/labels/s0.png",
        "--pixel",
        "31,47",
        "--device",
        "cpu",
    )
    assert done.exit_code == 0, done.output
    assert "pixel 31,47" in done.output
