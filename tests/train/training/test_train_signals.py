"""`danet train` as a process that is asked to end, and to go on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from danet_train import read_checkpoint
from danet_train.training import interruption
from danet_train.training.interruption import stopping_on_signals

CONFIG = """
model: {depth: 18, base_channels: 4, stem_channels: 4, head_channels: 8, attention_channels: 4}
augmentation: {crop_hw: [32, 48]}
optimiser: {kind: adamw, lr: 0.01}
batch_size: 2
steps: 60
workers: 1
device: cpu
threads: 2  # a pool of threads in each loader too, to any of which a signal may go
"""


def _command(folder, data, *options, workers=1):
    (folder / "tiny.yaml").write_text(CONFIG.replace("workers: 1", f"workers: {workers}"))
    danet = [sys.executable, "-c", "from danet_runtime.cli.entry import main; main()"]
    where = ("--data", str(data), "--config", str(folder / "tiny.yaml"), "-o", str(folder / "c.pt"))
    return [*danet, "train", *where, *options]


def _start(*arguments, **options):
    return subprocess.Popen(
        _command(*arguments, **options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def _wait_for(process, words):
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(process.stderr.read())


def _interrupt(folder, data, number):
    """Start, send the signal to the loaders too, as a terminal or a service manager does; the last step.

    `timeout` sends it to the process alone, and then to its group, in which it is, too.
    """
    folder.mkdir()
    process = _start(folder, data)
    _wait_for(process, "step 6 of 60")
    os.kill(process.pid, number)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "interrupted after step" in stderr
    assert "the same command with --resume" in stderr
    assert "Traceback" not in stderr
    step = torch.load(folder / "c.state.pt", weights_only=True)["step"]
    assert 6 <= step < 60
    assert f"after step {step} of 60" in stderr
    assert sorted(path.name for path in folder.iterdir()) == ["c.state.pt", "tiny.yaml"]
    return step


@pytest.mark.slow
def test_sigterm_saves_the_state_and_says_how_to_go_on(tmp_path, synthetic_root):
    _interrupt(tmp_path / "parts", synthetic_root, signal.SIGTERM)


@pytest.mark.slow
def test_a_closed_terminal_saves_the_state_as_well(tmp_path, synthetic_root):
    _interrupt(tmp_path / "parts", synthetic_root, signal.SIGHUP)


@pytest.mark.slow
def test_interrupted_by_ctrl_c_and_resumed_it_ends_as_if_nothing_had_come(tmp_path, synthetic_root):
    (tmp_path / "whole").mkdir()
    step = _interrupt(tmp_path / "parts", synthetic_root, signal.SIGINT)
    done = subprocess.run(
        _command(tmp_path / "parts", synthetic_root, "--resume"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"resumed after step {step} of 60" in done.stdout
    subprocess.run(_command(tmp_path / "whole", synthetic_root), capture_output=True, check=True)
    states = [read_checkpoint(tmp_path / name / "c.pt").model.state_dict() for name in ("parts", "whole")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    records = [json.loads((tmp_path / name / "c.json").read_text()) for name in ("parts", "whole")]
    assert records[0]["loss_curve"] == records[1]["loss_curve"]


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_first_signal_only_asks_and_one_a_while_later_does_what_it_did_before(first, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with stopping_on_signals() as asked:
        assert not asked()
        os.kill(os.getpid(), first)
        assert asked()
        os.kill(os.getpid(), signal.SIGINT)  # the same request, as `timeout` repeats it
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(interruption, "REPEATS_S", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once_and_leaves_nothing_half_written(tmp_path, synthetic_root):
    # Steps of several seconds, the first of which a first signal lets it finish.
    long = ("augmentation.crop_hw=[256,256]", "batch_size=32", "workers=0")
    process = _start(tmp_path, synthetic_root, *long, "--steps", "1000000")
    _wait_for(process, "to learn from")
    time.sleep(1)
    try:
        for _ in range(2):
            os.kill(process.pid, signal.SIGTERM)
            time.sleep(interruption.REPEATS_S + 0.2)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1, stderr
    assert "danet: interrupted" in stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"c.state.pt", "tiny.yaml"}


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the loaders in Linux's /proc")
def test_a_loader_that_is_killed_for_memory_ends_the_training_in_words_and_the_other_loader_too(
    tmp_path, synthetic_root
):
    process = _start(tmp_path, synthetic_root, "--steps", "1000000", "--evaluate-every", "20", workers=2)
    try:
        _wait_for(process, "step 20 of")
        loaders = _children(process.pid)
        assert len(loaders) == 2
        os.kill(loaders[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=40)
    finally:
        for number in (process.pid, *loaders):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    assert process.returncode == 1, stderr
    assert "danet: error: a process that loads samples " in stderr
    assert "memory ran out" in stderr
    assert "to continue after step" in stderr
    assert "with --resume" in stderr
    assert "Traceback" not in stderr
    assert not any(Path(f"/proc/{loader}").exists() for loader in loaders)


@pytest.mark.slow
def test_a_loader_ends_by_its_parents_sigterm_and_by_no_others(synthetic_root):
    """The end of a Python process sends it to its children and waits for them without a limit."""
    code = (
        "import multiprocessing, sys\n"
        "from danet_train import open_dataset, Normalisation\n"
        "from danet_train.data.batches import batches\n"
        "from danet_train.data.torch_samples import TrainingSamples\n"
        "from danet_train.config.sections import AugmentationConfig\n"
        "samples = TrainingSamples(open_dataset(sys.argv[1], 'train'), 400,"
        " AugmentationConfig(crop_hw=(32, 48)), Normalisation(), 0)\n"
        "stream = batches(samples, 2, workers=1)\n"
        "next(stream)\n"
        "[child] = multiprocessing.active_children()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.readline()\n"
        "print(child.is_alive(), flush=True)\n"
        "child.terminate()\n"
        "child.join(20)\n"
        "print(child.exitcode, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(synthetic_root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.kill(int(process.stdout.readline()), signal.SIGTERM)
    time.sleep(0.3)
    stdout, _ = process.communicate("\n", timeout=40)
    assert stdout.split() == ["True", "0"]


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping_on_signals() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert not asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
