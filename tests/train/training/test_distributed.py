"""Training by two processes, started by torchrun, connected by gloo: as by one with the same batch."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from danet_train import open_dataset, read_checkpoint
from danet_train.training.distributed import ALONE, World, world_from_environment

SUPPORT = Path(__file__).parents[2] / "support"
MODEL = """
model: {depth: 18, base_channels: 4, stem_channels: 4, head_channels: 8, attention_channels: 4,
        aux_channels: 4, dropout: DROPOUT}
augmentation: {crop_hw: [32, 48]}
optimiser: {kind: sgd, lr: 0.05, clip_norm: 3.0}
loop: LOOP
batch_size: 4
steps: 6
device: cpu
threads: 1
"""
FROZEN = "{frozen_batch_norm: true}"


def _torchrun(*command):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [*launcher, *map(str, command)]


def _run(command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _write(folder, text, loop=FROZEN, dropout="0.0"):
    path = folder / "tiny.yaml"
    path.write_text(text.replace("LOOP", loop).replace("DROPOUT", dropout))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "loop"),
    [
        ("{mean_over: valid, class_balance: 0.5}", FROZEN),
        ("{mean_over: valid}", "{frozen_batch_norm: true, accumulate: 2, attention: blockwise}"),
        ("{mean_over: all, branch_weight: 0}", FROZEN),
    ],
    ids=["weighted", "accumulated", "all-without-branches"],
)
def test_two_processes_make_the_updates_of_one(tmp_path, loss, loop):
    """In float64 only the order of sums differs between them: six steps agree to 1e-10.

    Almost all that counts is with the second process. A mean over each process's own pixels would weigh the
    first one's few pixels as much as the second one's many.
    """
    config = _write(tmp_path, MODEL + f"loss: {loss}\n", loop)
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(6):
        labels = torch.randint(0, 4, (4, 32, 48), generator=generator)
        labels[:2, 1:] = 255
        batches.append((torch.randn(4, 3, 32, 48, generator=generator, dtype=torch.float64), labels))
    torch.save(batches, tmp_path / "steps.pt")
    script = SUPPORT / "distributed_steps.py"
    subprocess.run([sys.executable, script, tmp_path, config], check=True)
    subprocess.run(_torchrun(script, tmp_path, config), check=True, capture_output=True)
    alone = torch.load(tmp_path / "0-of-1.pt", weights_only=True)
    for rank in range(2):
        one = torch.load(tmp_path / f"{rank}-of-2.pt", weights_only=True)
        assert one["losses"] == pytest.approx(alone["losses"], rel=1e-10)
        assert one["norms"] == pytest.approx(alone["norms"], rel=1e-9)
        for got, expected in zip(one["heads"], alone["heads"], strict=True):
            assert got == pytest.approx(expected, rel=1e-10)
        for name, tensor in alone["model"].items():
            torch.testing.assert_close(one["model"][name], tensor, rtol=1e-9, atol=1e-11)


def _danet(folder, data, config, *options):
    launcher = [sys.executable, "-c", "from danet_runtime.cli.entry import main; main()"]
    where = ("--data", data, "--config", config, "-o", folder / "c.pt", "--evaluate-every", 2)
    return [*launcher, "train", *map(str, (*where, *options))]


def _by_two(folder, data, config, *options):
    """As documented: torchrun --nproc-per-node 2 --no-python danet train ..."""
    return _torchrun("--no-python", *_danet(folder, data, config, *options))


@pytest.mark.slow
def test_the_command_by_two_processes_gives_one_checkpoint_of_the_same_training(tmp_path, synthetic_root):
    """Tolerances are of float32 over six steps; the scores are those of all samples, each once."""
    config = _write(tmp_path, MODEL)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    subprocess.run(_danet(tmp_path / "one", synthetic_root, config), check=True, capture_output=True)
    done = _run(_by_two(tmp_path / "two", synthetic_root, config, "--tensorboard", tmp_path / "two" / "tb"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("in 2 processes") == 1
    assert "FutureWarning" not in done.stderr
    one, two = (json.loads((tmp_path / name / "c.json").read_text()) for name in ("one", "two"))
    for got, expected in zip(two["loss_curve"], one["loss_curve"], strict=True):
        assert got["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert [point["step"] for point in two["val_curve"]] == [2, 4, 6]
    assert two["miou"] == pytest.approx(one["miou"], abs=0.01)
    states = [read_checkpoint(tmp_path / name / "c.pt").model.state_dict() for name in ("one", "two")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-3, atol=1e-5)
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["c.best.pt", "c.json", "c.pt", "tb"]
    assert len(list((tmp_path / "two" / "tb").iterdir())) == 1


@pytest.mark.slow
def test_interrupted_together_and_resumed_together_two_processes_end_as_if_nothing_had_been(
    tmp_path, synthetic_root
):
    """With dropout, whose generator is each process's own."""
    config = _write(tmp_path, MODEL.replace("steps: 6", "steps: 40"), dropout="0.5")
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    process = subprocess.Popen(
        _by_two(tmp_path / "parts", synthetic_root, config),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if "step 8 of 40" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode != 0
    assert stderr.count("interrupted after step") == 1, stderr
    step = torch.load(tmp_path / "parts" / "c.state.pt", weights_only=True)["step"]
    assert 8 <= step < 40

    alone = _run(_danet(tmp_path / "parts", synthetic_root, config, "--resume"))
    assert alone.returncode == 2
    assert "saved by 2 processes, but 1 would resume it" in alone.stderr
    for name, options in (("parts", ["--resume"]), ("whole", [])):
        done = _run(_by_two(tmp_path / name, synthetic_root, config, *options))
        assert done.returncode == 0, done.stderr
    states = [read_checkpoint(tmp_path / name / "c.pt").model.state_dict() for name in ("parts", "whole")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    records = [json.loads((tmp_path / name / "c.json").read_text()) for name in ("parts", "whole")]
    assert records[0]["loss_curve"] == records[1]["loss_curve"]
    assert records[0]["val_curve"] == records[1]["val_curve"]


@pytest.mark.slow
@pytest.mark.parametrize("bad", [1, 3])
def test_a_share_of_bad_samples_alone_is_no_error_but_a_split_of_them_is(tmp_path, synthetic_root, bad):
    """The second process has one of the 3 samples to score, the second."""
    data = tmp_path / "data"
    shutil.copytree(synthetic_root, data)
    labels = [open_dataset(data, "val").pairs[index].label for index in ([1] if bad == 1 else range(3))]
    for label in labels:
        label.write_bytes(label.read_bytes()[:-20])
    done = _run(_by_two(tmp_path, data, _write(tmp_path, MODEL), "--bad-samples", "skip"))
    if bad == 1:
        assert done.returncode == 0, done.stderr
        assert [p["skipped"] for p in json.loads((tmp_path / "c.json").read_text())["val_curve"]] == [1] * 3
    else:
        assert done.returncode != 0
        assert "none of the 3 samples can be read; the first: " in done.stderr
        assert "is cut off" in done.stderr


@pytest.mark.slow
def test_batch_statistics_on_cpus_are_refused_in_words(tmp_path, synthetic_root):
    config = _write(tmp_path, MODEL, loop="{}")
    started = time.monotonic()
    done = _run(_by_two(tmp_path, synthetic_root, config))
    assert done.returncode != 0
    assert "set loop.frozen_batch_norm: true" in done.stderr
    assert time.monotonic() - started < 120


def test_each_process_knows_its_place_and_draws_its_own_numbers(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert world_from_environment() == ALONE
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert world_from_environment() == World(5, 8, 1)
    assert not World(5, 8, 1).is_main
    seeds = [World(rank, 8, rank).seed(7) for rank in range(8)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 8
