"""The demo's last step holds its network to what the demo is to show."""

from __future__ import annotations

import json

import pytest

from benchmarks.records import demo_table
from danet_train.checkpoint import read_checkpoint, save_checkpoint


def _folder(tmp_path, checkpoint_file, *, miou, pam, cam):
    model = read_checkpoint(checkpoint_file).model
    model.decode_head.pam.gamma.scale.data.fill_(pam)
    model.decode_head.cam.gamma.scale.data.fill_(cam)
    save_checkpoint(tmp_path / "checkpoint.pt", model)
    (tmp_path / "checkpoint.json").write_text(json.dumps({"miou": miou}))
    return tmp_path


def test_a_network_that_learned_and_attends_falls_short_of_nothing(tmp_path, checkpoint_file):
    folder = _folder(tmp_path, checkpoint_file, miou=0.6309, pam=0.11, cam=-0.1)
    assert demo_table.shortcomings(folder) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"miou": 0.59}, "mIoU is 0.5900, and should be 0.6 or more"),
        ({"pam": 0.0}, "pam.gamma is 0.0000"),
        ({"cam": 0.001}, "cam.gamma is 0.0010"),
    ],
)
def test_each_thing_that_falls_short_is_said(tmp_path, checkpoint_file, changes, words):
    folder = _folder(tmp_path, checkpoint_file, **{"miou": 0.7, "pam": 0.1, "cam": 0.1, **changes})
    (shortcoming,) = demo_table.shortcomings(folder)
    assert words in shortcoming
