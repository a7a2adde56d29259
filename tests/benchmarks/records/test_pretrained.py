"""The maker of networks that ship: it scores what it packs, and the record says how it was trained."""

from __future__ import annotations

import json

import pytest
import yaml
from labelled_folders import plain_folder

from benchmarks.records import pretrained
from danet_train.checkpoint import read_checkpoint, save_checkpoint
from danet_train.classes import read_classes
from danet_train.data.datasets.layouts import open_dataset
from danet_train.evaluation.scoring import score
from danet_train.model.danet import build_model
from danet_train.pretrained import registry
from danet_train.pretrained.record import read_record
from danet_train.training.config import read_config

NOTE = {
    "title": "a toy",
    "recipe": "camvid_r18_small",
    "classes": None,
    "data": {"name": "scenes", "origin": "drawn here", "licence": "free"},
    "limits": ["It knows four pictures."],
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A checkpoint with the record of its training, data, and the notes on a network called toy."""
    import torch

    torch.manual_seed(0)
    data = plain_folder(tmp_path / "data")
    (tmp_path / "notes.yaml").write_text(yaml.safe_dump({"toy": NOTE}))
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(pretrained, "NOTES", tmp_path / "notes.yaml")
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "shipped")
    model = build_model(
        18, num_classes=4, base_channels=4, stem_channels=4, head_channels=8, attention_channels=4
    )
    save_checkpoint(tmp_path / "c.pt", model.eval(), classes=read_classes(data / "classes.yaml"))
    config = read_config("camvid_r18_small", "precision=fp32", "optimiser.lr=0.01", steps=12, seed=5)
    training = {"steps": 12, "training_seconds": 61.24, "config": config.model_dump(mode="json")}
    (tmp_path / "c.json").write_text(json.dumps(training))
    return tmp_path


def test_the_record_states_the_scores_of_the_file_that_ships(made):
    folder = made / "shipped"
    record = pretrained.make(made / "c.pt", made / "data", "toy", "a machine", folder)
    assert read_record("toy") == record
    loaded = read_checkpoint("pretrained:toy")
    scored = score(loaded.model, open_dataset(made / "data", "val"), loaded.normalisation)
    assert record.scores.miou == pytest.approx(scored.matrix.miou, abs=1e-6)
    before = score(
        read_checkpoint(made / "c.pt").model, open_dataset(made / "data", "val"), loaded.normalisation
    )
    assert record.scores.miou_before_rounding == pytest.approx(before.matrix.miou, abs=1e-6)
    assert record.scores.images == 4
    assert record.data.train_images == 4
    assert record.size_hw == (32, 48)


def test_the_record_states_how_it_was_trained_and_what_differs_from_the_recipe(made):
    training = pretrained.make(made / "c.pt", made / "data", "toy", "a machine", made / "shipped").training
    assert (training.steps, training.seed, training.precision, training.seconds) == (12, 5, "fp32", 61.2)
    assert training.machine == "a machine"
    assert set(training.changes) == {"steps=12", "seed=5", "precision=fp32", "optimiser.lr=0.01"}


def test_the_settings_of_a_recipe_as_it_is_differ_in_nothing():
    config = read_config("camvid_r18_small").model_dump(mode="json")
    config["model"]["num_classes"] = 11  # follows the data
    assert pretrained.changes("camvid_r18_small", config) == ()


def test_the_same_checkpoint_is_the_same_file(made):
    first, second = (
        pretrained.make(made / "c.pt", made / "data", "toy", "a machine", made / "shipped") for _ in range(2)
    )
    assert first == second


def test_a_network_that_nothing_is_noted_of_is_refused(made):
    with pytest.raises(SystemExit, match="'unknown'; expected one of: toy"):
        pretrained.make(made / "c.pt", made / "data", "unknown", "a machine", made / "shipped")
    assert not list((made / "shipped").iterdir())


def test_each_note_of_the_repository_names_a_recipe_and_is_whole(made, monkeypatch):
    monkeypatch.undo()
    notes = yaml.safe_load(pretrained.NOTES.read_text(encoding="utf-8"))
    assert notes
    for note in notes.values():
        assert set(note) == set(NOTE)
        assert set(note["data"]) == set(NOTE["data"])
        read_config(note["recipe"])
