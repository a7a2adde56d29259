"""A training that is interrupted and resumed is the training that was not, bit for bit."""

import json
import pickle

import pytest
import torch

from danet_train import open_dataset, read_checkpoint
from danet_train.data.samples.sample import Splits
from danet_train.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    InterruptedTrainingError,
    NoCheckpointError,
    UsageError,
)
from danet_train.training.config import TrainConfig
from danet_train.training.listeners import Listeners
from danet_train.training.outputs import RunFiles, state_path
from danet_train.training.run import train_to_file

SMALL = {"base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4}
STEPS = 5


def _config(**changes):
    content = {
        "model": {"depth": 18, **SMALL, "dropout": 0.5},
        "augmentation": {"crop_hw": [32, 48]},
        "optimiser": {"kind": "adamw", "lr": 0.02, "clip_norm": 1.0},
        "loss": {"mean_over": "valid", "class_balance": 0.5},
        "loop": {"evaluate_every": 2},
        "steps": STEPS, "batch_size": 2, "device": "cpu", "threads": 1,
    }  # fmt: skip
    return TrainConfig.model_validate({**content, **changes})


@pytest.fixture(scope="module")
def splits(synthetic_root):
    return open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")


def _after(count):
    """Asks to stop from the ``count``-th time on that it is asked."""
    asked = 0

    def ask():
        nonlocal asked
        asked += 1
        return asked >= count

    return ask


def _files(out):
    record = json.loads(out.with_suffix(".json").read_text())
    del record["training_seconds"]
    record["config"].pop("workers")
    best = out.with_name("c.best.pt")
    return read_checkpoint(out), read_checkpoint(best) if best.exists() else None, record


def _same(one, other):
    first, second = one.model.state_dict(), other.model.state_dict()
    return one.metadata == other.metadata and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, splits):
    out = tmp_path_factory.mktemp("whole") / "c.pt"
    train_to_file(_config(), Splits(*splits), RunFiles(out))
    return _files(out)


# With each step and with each of the 3 validation samples it is asked once: every place is reached, the
# evaluations after steps 2, 4 and 5 included.
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(ask, marks=[] if ask in (1, 4, 14) else pytest.mark.slow)
        for ask in range(1, STEPS + 3 * 3 + 1)
    ],
)
def test_interrupted_anywhere_and_resumed_it_ends_as_if_nothing_had_been(tmp_path, splits, whole, ask):
    out = tmp_path / "c.pt"
    with pytest.raises(InterruptedTrainingError, match="with --resume"):
        train_to_file(
            _config(), Splits(*splits), RunFiles(out), listeners=Listeners(asked_to_stop=_after(ask))
        )
    assert state_path(out).exists()
    assert not out.exists()
    train_to_file(_config(), Splits(*splits), RunFiles(out, resume=True))
    last, best, record = _files(out)
    assert _same(last, whole[0])
    assert _same(best, whole[1])
    assert record == whole[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.best.pt", "c.json", "c.pt"]


@pytest.mark.slow
def test_interrupted_at_every_step_it_still_ends_the_same(tmp_path, splits, whole):
    out, resume = tmp_path / "c.pt", False
    for _ in range(STEPS):
        with pytest.raises(InterruptedTrainingError):
            train_to_file(
                _config(),
                Splits(*splits),
                RunFiles(out, resume=resume),
                listeners=Listeners(asked_to_stop=_after(2 if resume else 1)),
            )
        resume = True
        torch.rand(3)  # another process has another state of the generators
    train_to_file(_config(), Splits(*splits), RunFiles(out, resume=True))
    assert _same(_files(out)[0], whole[0])
    assert _files(out)[2] == whole[2]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_it_ends_the_same_where_workers_load(tmp_path, splits, whole, workers):
    out = tmp_path / "c.pt"
    with pytest.raises(InterruptedTrainingError):
        train_to_file(
            _config(workers=workers),
            Splits(*splits),
            RunFiles(out),
            listeners=Listeners(asked_to_stop=_after(3)),
        )
    train_to_file(_config(workers=workers), Splits(*splits), RunFiles(out, resume=True))
    assert _same(_files(out)[0], whole[0])
    assert _files(out)[2] == whole[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": {"kind": "sgd", "lr": 0.05, "head_lr_factor": 10.0}},
        {"precision": "fp16"},
        {"precision": "bf16", "loop": {"accumulate": 2, "attention": "blockwise", "attention_rows": 7}},
    ],
    ids=["sgd", "fp16", "accumulated-blockwise"],
)
def test_optimiser_and_scaler_go_on_where_they_stood(tmp_path, splits, changes):
    """The state before the last evaluation holds all that the steps made of them."""
    states = []
    for name, stop in (("whole", None), ("parts", 3)):
        out, resume = tmp_path / name / "c.pt", False
        if stop is not None:
            with pytest.raises(InterruptedTrainingError):
                train_to_file(
                    _config(**changes),
                    Splits(*splits),
                    RunFiles(out),
                    listeners=Listeners(asked_to_stop=_after(stop)),
                )
            resume = True
        steps = []
        with pytest.raises(InterruptedTrainingError):
            train_to_file(
                _config(**changes),
                Splits(*splits),
                RunFiles(out, resume=resume),
                listeners=Listeners(
                    on_step=steps.append,
                    asked_to_stop=lambda: bool(steps) and steps[-1].step == STEPS,  # noqa: B023 - called before
                ),
            )
        states.append(torch.load(state_path(out), weights_only=True))
    first, second = states
    first.pop("seconds"), second.pop("seconds")
    assert first["step"] == STEPS
    assert first["learner"]["optimisers"][0]["state"]
    _assert_equal(first, second)


def _assert_equal(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            _assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            _assert_equal(first, second)
    else:
        assert one == other


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, splits):
    out = tmp_path_factory.mktemp("interrupted") / "c.pt"
    with pytest.raises(InterruptedTrainingError):
        train_to_file(_config(), Splits(*splits), RunFiles(out), listeners=Listeners(asked_to_stop=_after(3)))
    return out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed 0, but the configuration says 1"),
        ({"steps": 6}, "steps 5, but"),
        ({"optimiser": {"kind": "adamw", "lr": 0.03, "clip_norm": 1.0}}, "optimiser.lr 0.02, but"),
        ({"model": {"depth": 34, **SMALL}, "seed": 4}, "model.depth 18, but"),
        ({"loop": {"evaluate_every": 2, "accumulate": 2}}, "loop.accumulate 1, but"),
    ],
)
def test_another_configuration_is_refused_by_its_first_field(interrupted, splits, changes, words):
    before = state_path(interrupted).read_bytes()
    with pytest.raises(ConfigError, match=words):
        train_to_file(_config(**changes), Splits(*splits), RunFiles(interrupted, resume=True))
    assert state_path(interrupted).read_bytes() == before


def test_what_the_result_does_not_depend_on_may_differ(interrupted, splits, tmp_path, whole):
    out = tmp_path / "c.pt"
    state_path(out).write_bytes(state_path(interrupted).read_bytes())
    config = _config(
        workers=1, in_memory=True, loop={"evaluate_every": 3, "save_every": 2}, device="auto",
        published={"source": "somebody", "miou": 50.0}, quantisation={"frames": 3},
        backbone_weights="gone.pt",
    )  # fmt: skip
    if torch.cuda.is_available():
        config = config.model_copy(update={"device": "cpu"})
    train_to_file(config, Splits(*splits), RunFiles(out, resume=True))
    last, best, record = _files(out)
    assert _same(last, whole[0])
    assert [point["step"] for point in record["val_curve"]] == [3, STEPS]
    assert best.metadata["step"] == record["best"]["step"]


def test_the_best_weights_are_kept_where_the_rest_is_scored_at_the_end_alone(splits, tmp_path):
    out = tmp_path / "c.pt"
    with pytest.raises(InterruptedTrainingError):
        train_to_file(
            _config(), Splits(*splits), RunFiles(out), listeners=Listeners(asked_to_stop=_after(6))
        )  # after the scores of step 2
    train_to_file(_config(loop={}), Splits(*splits), RunFiles(out, resume=True))
    _, best, record = _files(out)
    assert [point["step"] for point in record["val_curve"]] == [2, STEPS]
    assert best.metadata["step"] == record["best"]["step"]


def test_other_data_is_refused(interrupted, splits):
    train, val = splits
    with pytest.raises(DataError, match="train split of 6 samples, not 5"):
        train_to_file(_config(), Splits(train[:5], val), RunFiles(interrupted, resume=True))
    with pytest.raises(DataError, match="val split of samples of other names"):
        train_to_file(_config(), Splits(train, train[3:]), RunFiles(interrupted, resume=True))
    names = ("street", *train.classes.names[1:])
    renamed = [type(one)(one.pairs, one.classes.model_copy(update={"names": names})) for one in splits]
    with pytest.raises(DataError, match="the class 'road', not 'street'"):
        train_to_file(_config(), Splits(*renamed), RunFiles(interrupted, resume=True))


class _Harmful:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "keys", "tensors", "objects", "checkpoint"])
def test_a_damaged_state_is_refused_in_words(interrupted, splits, tmp_path, damage, capsys, checkpoint_file):
    out = tmp_path / "c.pt"
    whole = state_path(interrupted).read_bytes()
    content = torch.load(state_path(interrupted), weights_only=True)
    if damage == "keys":
        del content["step"]
    if damage == "tensors":
        content["learner"]["model"].popitem()
    torch.save(content, state_path(out))
    files = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a state",
        "objects": pickle.dumps(_Harmful()),
        "checkpoint": checkpoint_file.read_bytes(),
    }
    if damage in files:
        state_path(out).write_bytes(files[damage])
    with pytest.raises(CheckpointError, match=r"c\.state\.pt"):
        train_to_file(_config(), Splits(*splits), RunFiles(out, resume=True))
    assert "ran" not in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.state.pt"]


def test_there_must_be_something_to_resume_and_nothing_is_begun_anew_over_it(tmp_path, interrupted, splits):
    with pytest.raises(NoCheckpointError, match="leave out --resume"):
        train_to_file(_config(), Splits(*splits), RunFiles(tmp_path / "c.pt", resume=True))
    with pytest.raises(UsageError, match="state of an unfinished training; continue that with --resume"):
        train_to_file(_config(), Splits(*splits), RunFiles(interrupted))


def test_an_evaluation_that_fails_loses_no_step(tmp_path, splits, whole, monkeypatch):
    def fail(*arguments, **options):
        raise DataError("val/x.png is cut off")

    out = tmp_path / "c.pt"
    with monkeypatch.context() as patch:
        patch.setattr("danet_train.training.scoring.tally", fail)
        with pytest.raises(DataError):
            train_to_file(_config(), Splits(*splits), RunFiles(out))
    assert torch.load(state_path(out), weights_only=True)["step"] == 2
    train_to_file(_config(), Splits(*splits), RunFiles(out, resume=True))
    assert _same(_files(out)[0], whole[0])


def test_killed_between_its_last_file_and_the_end_of_its_state_it_is_resumed(tmp_path, splits, whole):
    out = tmp_path / "c.pt"
    with pytest.raises(InterruptedTrainingError):
        train_to_file(
            _config(),
            Splits(*splits),
            RunFiles(out),
            listeners=Listeners(asked_to_stop=_after(STEPS + 2 * 3 + 1)),
        )
    last_state = state_path(out).read_bytes()
    train_to_file(_config(), Splits(*splits), RunFiles(out, resume=True))
    state_path(out).write_bytes(last_state)  # as if the end had not come to remove it
    with pytest.raises(UsageError, match="continue that with --resume"):
        train_to_file(_config(), Splits(*splits), RunFiles(out))
    train_to_file(_config(), Splits(*splits), RunFiles(out, resume=True))
    assert _same(_files(out)[0], whole[0])
    assert _files(out)[2] == whole[2]
    assert not state_path(out).exists()
    with pytest.raises(UsageError, match=r"c\.pt exists already"):
        train_to_file(_config(), Splits(*splits), RunFiles(out, resume=True))
