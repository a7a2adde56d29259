"""A layout is added by a module and a line: training, help, errors and calibration know it from then on."""

import importlib

import numpy as np
import pytest
import typer
from labelled_folders import put, scene
from toy_layout import Toybox
from typer.testing import CliRunner

from danet_calibration.images.images import choose_images
from danet_calibration.images.pictures import find_pictures
from danet_calibration.images.set_labels import find_labels
from danet_train import open_dataset
from danet_train.classes import find_classes
from danet_train.cli import evaluate, train
from danet_train.data.datasets import layouts
from danet_train.errors import DataError


@pytest.fixture
def _with_toybox(monkeypatch):
    monkeypatch.setattr(layouts, "LAYOUTS", (*layouts.LAYOUTS[:-1], Toybox(), layouts.LAYOUTS[-1]))


@pytest.fixture
def toybox(tmp_path):
    for split, first in (("learn", 0), ("check", 50)):
        for number in range(8 if split == "learn" else 2):
            image, label = scene(first + number)
            put(tmp_path / split / f"{number}.png", np.roll(image, 5 * number, axis=1))
            put(tmp_path / split / f"{number}_mask.png", label)
    (tmp_path / "toybox.txt").write_text("")
    return tmp_path


@pytest.mark.usefixtures("_with_toybox")
def test_its_splits_are_opened(toybox):
    dataset = open_dataset(toybox, "learn")
    assert (len(dataset), dataset.classes) == (8, find_classes("camvid"))
    np.testing.assert_array_equal(dataset[1].label, scene(1)[1])
    assert len(open_dataset(toybox, "check")) == 2
    with pytest.raises(DataError, match="no split 'val'; it has learn, check"):
        open_dataset(toybox, "val")


@pytest.mark.usefixtures("_with_toybox")
def test_calibration_takes_its_photographs_to_learn_from_and_finds_their_labels(toybox):
    found = find_pictures(toybox)
    assert sorted(found.groups) == [f"{number}.png" for number in range(8)]
    assert found.folder == toybox / "learn"
    images = choose_images(toybox, 99, least=1)
    labels, _ = find_labels(images, find_classes("camvid").names, None)
    assert labels == [file.with_name(f"{file.stem}_mask.png") for file in images.files]
    (toybox / "toybox.txt").unlink()  # of no layout any more, but its masks are still recognised
    assert len(find_pictures(toybox).groups) == 10


def help_of(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.usefixtures("_with_toybox")
@pytest.mark.parametrize("module", [train, evaluate])
def test_the_help_and_the_drawings_name_it(module, monkeypatch):
    command = {train: "train", evaluate: "evaluate"}[module]
    try:
        importlib.reload(module)
        assert "Toybox of photographs with masks beside them" in help_of(getattr(module, command), "--help")
    finally:
        monkeypatch.undo()
        importlib.reload(module)
    assert "Toybox" not in help_of(getattr(module, command), "--help")


@pytest.mark.usefixtures("_with_toybox")
def test_the_list_draws_it_beside_the_others():
    listed = help_of(train.train, "--list-layouts")
    assert "Toybox, recognised by toybox.txt: ROOT/toybox.txt ROOT/SPLIT/NAME.png" in listed
    for layout in layouts.LAYOUTS:
        assert " ".join(layout.drawing.split()) in listed


@pytest.mark.usefixtures("_with_toybox")
def test_the_error_where_no_layout_fits_names_it(tmp_path):
    with pytest.raises(DataError, match=r"neither .*leftImg8bit.*toybox\.txt \(Toybox\).*nor SPLIT/images"):
        open_dataset(tmp_path, "train")
