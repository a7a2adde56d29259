"""Evaluations on the way: what they write, and that they change nothing of what is trained."""

import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from danet_train import open_dataset, read_checkpoint
from danet_train.data.samples.faults import Skipped
from danet_train.data.samples.sample import Splits
from danet_train.errors import UsageError
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.evaluation.scoring import score
from danet_train.training.config import TrainConfig
from danet_train.training.history import NAMED_SKIPPED, History
from danet_train.training.listeners import Listeners
from danet_train.training.loop import Progress, train_model
from danet_train.training.outputs import RunFiles
from danet_train.training.run import train_to_file

REPOSITORY = Path(__file__).parents[3]
SMALL = {"base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4}


def _config(**changes):
    return TrainConfig.model_validate({
        "model": {"depth": 18, **SMALL, "dropout": 0.5},
        "augmentation": {"crop_hw": [32, 48]},
        "optimiser": {"kind": "adamw", "lr": 0.02},
        "steps": 5, "batch_size": 2, "device": "cpu", "threads": 1, **changes,
    })  # fmt: skip


def _matrix(*counts):
    matrix = ConfusionMatrix(2)
    matrix.counts += np.array(counts).reshape(2, 2)
    return matrix


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_evaluations_on_the_way_leave_the_weights_bit_for_bit(tmp_path, synthetic_root, workers):
    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    config = _config(workers=workers, loop={"evaluate_every": 1})
    threads, scored = torch.get_num_threads(), []
    train_to_file(
        config,
        Splits(train, val),
        RunFiles(tmp_path / "c.pt"),
        listeners=Listeners(on_score=lambda step, matrix: scored.append(step)),
    )
    plain = train_model(_config(workers=workers), train).state_dict()
    state = read_checkpoint(tmp_path / "c.pt").model.state_dict()
    assert scored == [1, 2, 3, 4, 5]
    assert all(torch.equal(state[name], plain[name]) for name in plain)
    assert torch.get_num_threads() == threads


def test_an_evaluation_that_draws_random_numbers_and_changes_modes_changes_nothing(
    tmp_path, synthetic_root, monkeypatch
):
    def careless(model, *arguments, **options):
        torch.rand(7)
        scored = score(model, *arguments, **options)
        model.train()
        model.backbone.eval()
        return scored

    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    monkeypatch.setattr("danet_train.training.scoring.tally", careless)
    train_to_file(_config(loop={"evaluate_every": 2}), Splits(train, val), RunFiles(tmp_path / "c.pt"))
    plain = train_model(_config(), train).state_dict()
    state = read_checkpoint(tmp_path / "c.pt").model.state_dict()
    assert all(torch.equal(state[name], plain[name]) for name in plain)


def test_the_record_holds_the_curve_and_the_best_weights_are_those_of_its_highest_point(
    tmp_path, synthetic_root
):
    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    config = _config(loop={"evaluate_every": 2}, seed=3)
    matrix, _ = train_to_file(config, Splits(train, val), RunFiles(tmp_path / "c.pt"))
    record = json.loads((tmp_path / "c.json").read_text())
    points = {point["step"]: point["miou"] for point in record["val_curve"]}
    assert list(points) == [2, 4, 5]
    assert points[5] == record["miou"] == matrix.miou
    highest = max(points, key=points.get)
    assert record["best"] == {
        "step": highest,
        "miou": points[highest],
        "pixel_accuracy": next(p["pixel_accuracy"] for p in record["val_curve"] if p["step"] == highest),
        "skipped": 0,
    }
    best = read_checkpoint(tmp_path / "c.best.pt")
    assert best.metadata["step"] == highest
    assert score(best.model, val, best.normalisation).matrix.miou == points[highest]
    assert record["loss_curve"][0]["lr"] == 0.02
    assert record["skipped"] == {"count": 0, "first": []}


def test_best_weights_of_another_run_are_not_replaced_unasked_and_not_left_behind(tmp_path, synthetic_root):
    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    (tmp_path / "c.best.pt").write_text("another's")
    with pytest.raises(UsageError, match=r"c\.best\.pt exists already"):
        train_to_file(_config(steps=10**9), Splits(train, val), RunFiles(tmp_path / "c.pt"))
    train_to_file(_config(steps=1), Splits(train, val), RunFiles(tmp_path / "c.pt", overwrite=True))
    assert not (tmp_path / "c.best.pt").exists()


def test_the_first_of_equal_scores_is_the_best_and_a_score_beats_none():
    history = History()
    assert history.score(_matrix(0, 0, 0, 0))  # nothing was scored, NaN
    assert history.score(_matrix(1, 1, 1, 1))
    assert not history.score(_matrix(1, 1, 1, 1))
    assert not history.score(_matrix(0, 0, 0, 0))
    assert history.best == history.scores[1]
    json.dumps(history.document(), allow_nan=False)
    assert math.isnan(history.scores[0].miou)


def test_the_curve_is_means_over_equal_stretches_with_the_last_rate_of_each():
    history = History()
    for step in range(1, 251):
        history.note(Progress(step, float(step), 1 / step))
    curve = history.document()["loss_curve"]
    assert [point["step"] for point in curve] == list(range(2, 251, 2))
    assert curve[4] == {"step": 10, "loss": 9.5, "lr": 0.1}


def test_samples_that_were_left_out_are_counted_and_the_first_few_named():
    history = History()
    for step in range(1, 11):
        lost = tuple(Skipped(f"s{step % 7}", "cut off") for _ in range(2))
        history.note(Progress(step, 1.0, 0.1, lost))
    skipped = history.document()["skipped"]
    assert skipped["count"] == 20
    assert [entry["name"] for entry in skipped["first"]] == [f"s{k}" for k in range(1, NAMED_SKIPPED + 1)]
    assert skipped["first"][0]["why"] == "cut off"


@pytest.mark.slow
def test_the_picture_of_a_record_is_drawn(tmp_path, synthetic_root):
    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    train_to_file(_config(loop={"evaluate_every": 2}), Splits(train, val), RunFiles(tmp_path / "c.pt"))
    written = (str(tmp_path / "c.json"), "-o", str(tmp_path / "curve.png"))
    command = [sys.executable, "-m", "benchmarks.records.learning_curve", *written]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    picture = cv2.imread(str(tmp_path / "curve.png"))
    assert picture.shape == (720, 960, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
