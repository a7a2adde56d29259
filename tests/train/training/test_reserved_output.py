"""One run at a time writes a checkpoint: a second one is refused, and the first does not notice."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys

import pytest

from danet_train import open_dataset, read_checkpoint
from danet_train.data.samples.sample import Splits
from danet_train.errors import UsageError
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import World
from danet_train.training.fine_tune import fine_tune_to_file
from danet_train.training.listeners import Listeners
from danet_train.training.outputs import RunFiles, best_path, record_path, reserved, state_path
from danet_train.training.run import train_to_file

REFUSED = r"another run is writing .*c\.pt; wait until it ends, or give another path"
HOLD = """
import sys, time
from pathlib import Path
from danet_train.training.outputs import best_path, record_path, reserved, state_path
with reserved(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def splits(synthetic_root):
    return open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")


def _config(**changes):
    return TrainConfig.model_validate({
        "model": {
            "depth": 18, "base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4,
        },
        "augmentation": {"crop_hw": [32, 48]},
        "optimiser": {"kind": "adamw", "lr": 0.01},
        "steps": 2, "batch_size": 2, "device": "cpu", "threads": 1, **changes,
    })  # fmt: skip


def _files(folder):
    return sorted(path.name for path in folder.iterdir())


def _held_elsewhere(out):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_the_first_ends_as_if_alone(tmp_path, splits):
    out, refused = tmp_path / "c.pt", []

    def again(progress):
        with pytest.raises(UsageError, match=REFUSED):
            train_to_file(_config(seed=1), Splits(*splits), RunFiles(out, overwrite=True))
        refused.append(_files(tmp_path))

    train_to_file(_config(), Splits(*splits), RunFiles(out), listeners=Listeners(on_step=again))
    assert len(refused) == 2
    assert ".c.lock" in refused[0]
    assert _files(tmp_path) == ["c.json", "c.pt"]
    train_to_file(_config(), Splits(*splits), RunFiles(out, overwrite=True))


def test_a_fine_tuning_is_a_run_too(tmp_path, splits):
    out = tmp_path / "c.pt"
    train_to_file(_config(), Splits(*splits), RunFiles(out))
    source = read_checkpoint(out)
    config = _config(model=source.model.config.model_dump())
    with reserved(out), pytest.raises(UsageError, match=REFUSED):
        fine_tune_to_file(config, source, Splits(*splits), out, overwrite=True)


def test_a_run_that_fails_or_cannot_begin_gives_the_output_free(tmp_path, splits):
    out = tmp_path / "c.pt"

    def fail(progress):
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        train_to_file(_config(), Splits(*splits), RunFiles(out), listeners=Listeners(on_step=fail))
    assert _files(tmp_path) == []
    out.write_bytes(b"")
    with pytest.raises(UsageError, match="exists already"):
        train_to_file(_config(), Splits(*splits), RunFiles(out))
    assert _files(tmp_path) == ["c.pt"]


@pytest.mark.slow
def test_another_process_holds_it_until_it_dies_even_by_force(tmp_path):
    out = tmp_path / "c.pt"
    process = _held_elsewhere(out)
    try:
        with pytest.raises(UsageError, match=REFUSED), reserved(out):
            pytest.fail("both hold it")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert _files(tmp_path) == [".c.lock"]  # nobody was left to remove it
    with reserved(out):
        pass
    assert _files(tmp_path) == []


def test_only_the_main_process_of_several_takes_it(tmp_path, splits):
    """The second of two gets past the lock, to what two processes on a CPU cannot share."""
    out, second = tmp_path / "c.pt", World(rank=1, size=2, local_rank=1)
    with reserved(out):
        with pytest.raises(Exception, match="batch statistics") as caught:
            train_to_file(_config(), Splits(*splits), RunFiles(out), world=second)
        assert "another run" not in str(caught.value)
    with reserved(tmp_path / "d.pt"), reserved(out):
        assert _files(tmp_path) == [".c.lock", ".d.lock"]


def test_where_the_file_system_has_no_locks_the_run_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), reserved(tmp_path / "c.pt"):
        pass
    assert ".c.lock cannot be locked (No locks available); start no second run" in caplog.text
    assert _files(tmp_path) == []


@pytest.mark.parametrize("stem", ["n" * 252, "ж" * 126, os.fsdecode(b"h\xe9" * 126)])
def test_a_checkpoint_of_the_longest_name_has_all_its_files_beside_it(tmp_path, splits, stem):
    out = tmp_path / f"{stem}.pt"
    train_to_file(_config(loop={"evaluate_every": 1}), Splits(*splits), RunFiles(out))
    assert _files(tmp_path) == sorted(path.name for path in (out, record_path(out), best_path(out)))
    other = out.with_name(f"{stem[:-1]}x.pt")
    for place in (record_path, best_path, state_path):
        assert place(out) != place(other)
        assert len(os.fsencode(place(out).name)) <= 255
    read_checkpoint(best_path(out))


def test_a_name_that_no_disk_takes_is_refused_before_the_work(tmp_path, splits):
    with pytest.raises(UsageError, match="is a name of 256 bytes; a file's has at most 255"):
        train_to_file(_config(), Splits(*splits), RunFiles(tmp_path / f"{'n' * 253}.pt"))
