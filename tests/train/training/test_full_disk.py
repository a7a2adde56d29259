"""A training whose disk is full: by a limit on the size of files, which fails as a full disk does."""

import resource
from contextlib import contextmanager

import pytest
import torch

from danet_train import open_dataset, read_checkpoint
from danet_train.data.samples.sample import Splits
from danet_train.errors import TrainingError
from danet_train.training.config import TrainConfig
from danet_train.training.listeners import Listeners
from danet_train.training.outputs import RunFiles, state_path
from danet_train.training.run import train_to_file

STEPS = 4
CONFIG = TrainConfig.model_validate({
    "model": {"depth": 18, "base_channels": 4, "stem_channels": 4, "head_channels": 8,
              "attention_channels": 4},
    "augmentation": {"crop_hw": [32, 48]}, "loop": {"save_every": 1},
    "steps": STEPS, "batch_size": 2, "device": "cpu", "threads": 1,
})  # fmt: skip


@pytest.fixture(scope="module")
def splits(synthetic_root):
    return open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")


@contextmanager
def _disk():
    """Yields what fills the disk and what makes room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        yield lambda: limit(4096), lambda: limit(before[0])
    finally:
        limit(before[0])


def test_a_state_that_cannot_be_saved_on_the_way_is_reported_once_and_the_training_goes_on(tmp_path, splits):
    warnings, states = [], []
    with _disk() as (fill, make_room):

        def on_step(progress):
            states.append(
                state_path(tmp_path / "c.pt").exists() and state_path(tmp_path / "c.pt").read_bytes()
            )
            {2: fill, 4: make_room}.get(progress.step, lambda: None)()

        train_to_file(
            CONFIG,
            Splits(*splits),
            RunFiles(tmp_path / "c.pt"),
            listeners=Listeners(on_step=on_step, say=warnings.append),
        )
    assert len(warnings) == 1
    assert "c.state.pt cannot be written (File too large" in warnings[0]
    assert "after step 2 " in warnings[0]
    assert "to continue after step 1 of 4" in warnings[0]
    assert states[1] == states[2] == states[3] != b""  # the one of step 1 stands meanwhile
    train_to_file(CONFIG, Splits(*splits), RunFiles(tmp_path / "whole.pt"))
    one, other = (read_checkpoint(tmp_path / name).model.state_dict() for name in ("c.pt", "whole.pt"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.json", "c.pt", "whole.json", "whole.pt"]


def test_best_weights_that_cannot_be_written_do_not_end_the_training(tmp_path, splits):
    warnings = []
    config = CONFIG.model_copy(update={"loop": CONFIG.loop.model_copy(update={"evaluate_every": 2})})
    with _disk() as (fill, make_room):
        train_to_file(
            config,
            Splits(*splits),
            RunFiles(tmp_path / "c.pt"),
            listeners=Listeners(
                say=warnings.append, on_step=lambda progress: (make_room if progress.step != 2 else fill)()
            ),
        )
    assert any("step 2 gave the best weights so far, which are lost" in words for words in warnings)
    assert (tmp_path / "c.pt").exists()


def test_a_checkpoint_that_cannot_be_written_at_the_end_leaves_the_state_to_go_on_from(tmp_path, splits):
    out = tmp_path / "c.pt"
    message = r"after the last step .*c\.pt cannot be written .* after step 4 of 4, .*with --resume"
    with _disk() as (fill, _), pytest.raises(TrainingError, match=message):
        train_to_file(
            CONFIG, Splits(*splits), RunFiles(out), listeners=Listeners(on_score=lambda step, scored: fill())
        )
    assert [path.name for path in tmp_path.iterdir()] == ["c.state.pt"]
    train_to_file(CONFIG, Splits(*splits), RunFiles(out, resume=True))
    assert read_checkpoint(out).metadata["step"] == STEPS


def test_stopping_without_room_for_the_state_says_what_is_left(tmp_path, splits):
    options = {"asked_to_stop": lambda: True}
    with _disk() as (fill, _):
        fill()
        with pytest.raises(
            TrainingError, match=r"c\.state\.pt cannot be written .*no state was saved before"
        ):
            train_to_file(
                CONFIG, Splits(*splits), RunFiles(tmp_path / "c.pt"), listeners=Listeners(**options)
            )
    assert not list(tmp_path.iterdir())
