"""The page of the networks that ship is made of their records."""

from __future__ import annotations

import json

import pytest
from pretrained_networks import NAME, put_pretrained

from benchmarks.tables import models
from danet_train.checkpoint import read_checkpoint
from danet_train.pretrained.registry import pretrained_files


@pytest.fixture
def folder(checkpoint_file, tmp_path):
    put_pretrained(tmp_path, read_checkpoint(checkpoint_file))
    return tmp_path


def test_a_card_tells_data_recipe_machine_scores_hash_and_limits(folder):
    record = json.loads(pretrained_files(NAME, folder)[1].read_text(encoding="utf-8"))
    card = models.block(folder)
    for words in (
        f"## {NAME}",
        record["sha256"],
        "a network of a test",
        "drawn",
        "free",
        "7 steps of 2, seed 3, fp32",
        "a machine",
        "**50.00 %** on 1 images",
        "64x96",
        "| road | 128, 64, 128 | 50.0 |",
        "- It was not trained.",
        "torch 0",
    ):
        assert words in card


def test_classes_stand_by_their_iou_and_an_absent_one_last(folder):
    file = pretrained_files(NAME, folder)[1]
    record = json.loads(file.read_text(encoding="utf-8"))
    record["scores"]["iou"] |= {"car": 0.9, "pole": 0.08, "train": None}
    file.write_text(json.dumps(record), encoding="utf-8")
    rows = models.iou_table(models.records(folder)[0]).splitlines()
    assert rows[2].startswith("| car |")
    assert rows[-2:] == ["| pole | 153, 153, 153 | 8.0 |", "| train | 0, 80, 100 | - |"]


def test_the_readme_has_the_two_commands_and_a_link(folder):
    text = models.readme(folder)
    assert f"danet export pretrained:{NAME} -o camvid\ndanet run camvid drive.mp4 -o overlay.mp4\n" in text
    assert "(docs/models.md)" in text


def test_without_weights_a_record_alone_is_no_network(folder):
    pretrained_files(NAME, folder)[0].unlink()
    assert models.block(folder) == models.NONE
    assert models.readme(folder) == ""
