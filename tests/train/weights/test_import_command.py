"""``danet import``: published weights become a checkpoint, and go back."""

from importlib import import_module
from pathlib import Path

import tomllib
import torch
import typer
from authors_network import authors_file, saved
from typer.testing import CliRunner

from danet_train import build_model, load_checkpoint, read_checkpoint
from danet_train.cli.import_weights import import_weights
from danet_train.errors import CheckpointError, UsageError

REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = {"base_channels": 4, "head_channels": 8, "attention_channels": 4, "aux_channels": 4}


def _import(*arguments):
    app = typer.Typer()
    app.command()(import_weights)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_turns_an_authors_file_into_a_checkpoint_and_into_mmsegmentations_and_back(tmp_path):
    path = saved(tmp_path, authors_file(deep=False, classes=19, fc=True))
    own, mmseg, back = tmp_path / "own.pt", tmp_path / "mmseg.pth", tmp_path / "back.pt"
    result = _import(path, "-o", own, "--classes", "cityscapes", "--multi-grid", "4,8,16")
    assert result.exit_code == 0, result.output
    for words in (
        "pretrained.fc.weight",
        "aligned corners",
        "DANet-R50",
        "road, sidewalk",
        "its authors' names",
    ):
        assert words in result.output
    loaded = read_checkpoint(own)
    assert loaded.model.config.multi_grid == (4, 8, 16)
    assert loaded.model.config.align_corners is True
    assert len(loaded.metadata["imported"]["sha256"]) == 64

    result = _import(own, "-o", mmseg, "--to", "mmseg")
    assert result.exit_code == 0, result.output
    assert "backbone.multi_grid=(4, 8, 16)" in result.output
    result = _import(mmseg, "-o", back)
    assert result.exit_code == 0, result.output
    again = read_checkpoint(back)
    assert again.model.config == loaded.model.config
    assert again.classes.names == loaded.classes.names
    held = again.model.state_dict()
    assert all(torch.equal(held[name], tensor) for name, tensor in loaded.model.state_dict().items())


def test_the_command_replaces_nothing_unasked_and_refuses_what_makes_no_sense(tmp_path):
    path = saved(tmp_path, authors_file(deep=True))
    (tmp_path / "there.pt").write_text("mine")
    out = tmp_path / "out.pt"
    for arguments, message in (
        ((path, "-o", tmp_path / "there.pt"), "exists already"),
        ((path, "-o", out, "--multi-grid", "4,,8"), "--multi-grid must be"),
        ((path, "-o", out, "--classes", "cityscapes"), "has 5 classes, but --classes cityscapes names 19"),
    ):
        result = _import(*arguments)
        assert isinstance(result.exception, UsageError)
        assert message in str(result.exception)
    assert (tmp_path / "there.pt").read_text() == "mine"
    assert not out.exists()
    assert _import(path, "-o", tmp_path / "there.pt", "--overwrite").exit_code == 0
    assert load_checkpoint(tmp_path / "there.pt").config.depth == 50


def test_the_command_is_registered():
    project = tomllib.loads((REPOSITORY / "train/pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["danet.commands"]["import"].partition(":")
    assert getattr(import_module(module), name) is import_weights


def test_classes_of_another_number_are_replaced_by_the_callers_own(tmp_path):
    meta = {
        "CLASSES": tuple("abcde"),
        "PALETTE": None,
    }  # of the data set that the network was first trained on
    path = saved(tmp_path, build_model(18, **SMALL, num_classes=2).state_dict(), meta=meta)
    (tmp_path / "own.yaml").write_text("classes: [{name: x, color: [0, 0, 0]}, {name: y, color: [9, 9, 9]}]")
    out = tmp_path / "out.pt"
    run = _import(path, "-o", out)
    assert isinstance(run.exception, CheckpointError)
    assert "2 classes, but the class table names 5; name its own: `danet import --classes`" in str(
        run.exception
    )
    assert not out.exists()
    run = _import(path, "-o", out, "--classes", tmp_path / "own.yaml")
    assert run.exit_code == 0, run.output
    assert read_checkpoint(out).classes.names == ("x", "y")
