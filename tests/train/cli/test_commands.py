import json
import subprocess
import sys

import pytest
import typer
import yaml
from typer.testing import CliRunner

from danet_train.cli.evaluate import evaluate
from danet_train.cli.explain import explain
from danet_train.cli.synthesize import synthesize
from danet_train.cli.train import train
from danet_train.errors import ConfigError, DanetTrainError, NoCheckpointError, NoDatasetError, UsageError

TINY = """
model: {depth: 18, base_channels: 4, stem_channels: 4, head_channels: 8, attention_channels: 4}
augmentation: {crop_hw: [32, 48]}
optimiser: {kind: adamw, lr: 0.01}
batch_size: 2
device: cpu
threads: 1
"""


def _run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with drawn scenes, a configuration, and a checkpoint of two steps on them."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY)
    result = _run(
        synthesize, folder / "data", "--train", 4, "--val", 2, "--video-frames", 0, "--size", "64x96"
    )
    assert result.exit_code == 0, result.output
    where = ("--data", folder / "data", "--config", folder / "tiny.yaml")
    result = _run(train, *where, "-o", folder / "c.pt", "--steps", 2)
    assert result.exit_code == 0, result.output
    assert "mIoU" in result.output
    assert "step 1 of 2, loss" in result.output
    return folder


def test_from_scenes_to_a_checkpoint_to_its_scores(trained, tmp_path):
    scores = tmp_path / "scores.json"
    result = _run(evaluate, trained / "c.pt", "--data", trained / "data", "--split", "val", "--json", scores)
    assert result.exit_code == 0, result.output
    assert "traffic light" in result.output
    assert json.loads(scores.read_text())["iou"] == json.loads((trained / "c.json").read_text())["iou"]


@pytest.mark.slow
def test_a_fine_tuning_with_quantisation_says_what_it_does_and_scores(trained, tmp_path):
    tuned = tmp_path / "q.pt"
    where = ("--data", trained / "data", "--config", trained / "tiny.yaml")
    result = _run(train, "--quantize", trained / "c.pt", *where, "-o", tuned, "--steps", 1, "--threads", 2)
    assert result.exit_code == 0, result.output
    assert "under INT8's rounding" in result.output
    messages = (
        "finding the first scales on 4 frames",
        "scoring INT8 before",
        "fine-tuning\n",
        "step 1 of 1, loss ",
    )
    places = [result.output.find(words) for words in (*messages, "scoring INT8\n", "scoring floating point")]
    assert -1 not in places
    assert places == sorted(places)
    record = json.loads(tuned.with_suffix(".json").read_text())
    assert record["int8"]["miou"] is not None
    assert record["config"]["threads"] == 2


@pytest.mark.parametrize("size", ["128", "128x", "ax1", "128X256"])
def test_a_size_that_is_none_is_refused(tmp_path, size):
    result = _run(synthesize, tmp_path / "data", "--size", size)
    assert isinstance(result.exception, UsageError)
    assert "HEIGHTxWIDTH" in str(result.exception)


def test_settings_are_shown_as_they_would_be_trained_with(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "c.pt").write_text("of another run")
    command = (train, "--data", tmp_path, "-o", tmp_path / "c.pt", "--config", tmp_path / "tiny.yaml")
    shown = _run(*command, "optimiser.lr=3e-2", "--show-config", "--evaluate-every", 5, "loss.ohem={}")
    assert shown.exit_code == 0, shown.output
    settings = yaml.safe_load(shown.output)
    assert settings["optimiser"]["lr"] == 0.03
    assert settings["loop"]["evaluate_every"] == 5
    assert settings["loss"]["ohem"] == {"threshold": 0.7, "min_kept": 100000}
    assert settings["augmentation"]["crop_hw"] == [32, 48]
    assert settings["augmentation"]["flip"] == 0.5
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["c.pt", "tiny.yaml"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["steps=3", "--steps", 4], "steps is set twice, by 'steps=3' and 'steps=4'"),
        (["--evaluate-every", 4, "loop.evaluate_every=null"], "loop.evaluate_every is set twice"),
        (["demo"], "expected KEY=VALUE"),
        (["optimiser.lr=fast"], "optimiser.lr: Input should be a valid number (got 'fast')"),
    ],
)
def test_a_setting_that_cannot_be_is_wrong_usage(tmp_path, given, words):
    result = _run(train, "--data", tmp_path, "--config", "demo", "-o", tmp_path / "c.pt", *given)
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
    assert result.exception.exit_code == 2


def test_a_path_that_is_not_there_is_wrong_usage(tmp_path):
    (tmp_path / "data" / "val" / "images").mkdir(parents=True)
    (tmp_path / "some.pt").write_bytes(b"")
    start = (train, "--config", "demo", "-o", tmp_path / "c.pt")
    for arguments, kind, words in (
        ((*start, "--data", tmp_path / "none"), NoDatasetError, "not a folder"),
        (
            (*start, "--data", tmp_path / "data", "--train-split", "trian"),
            NoDatasetError,
            "no split 'trian'; it has val",
        ),
        ((evaluate, tmp_path / "none.pt", "--data", tmp_path), NoCheckpointError, "does not exist"),
    ):
        result = _run(*arguments)
        assert isinstance(result.exception, kind)
        assert words in str(result.exception)
        assert result.exception.exit_code == 2


def test_no_configuration_is_chosen_silently(tmp_path):
    result = _run(train, "--data", tmp_path, "-o", tmp_path / "c.pt")
    assert isinstance(result.exception, UsageError)
    assert all(name in str(result.exception) for name in ("--config", "demo", "camvid_r18_small"))


def test_settings_are_shown_without_data_and_a_training_without_is_refused(tmp_path):
    shown = _run(train, "--config", "demo", "steps=7", "--show-config")
    assert shown.exit_code == 0
    assert yaml.safe_load(shown.stdout)["steps"] == 7
    refused = _run(train, "--config", "demo", "-o", tmp_path / "c.pt")
    assert isinstance(refused.exception, UsageError)
    assert "needs --data:" in str(refused.exception)


def test_training_onto_a_checkpoint_that_is_there_is_refused_first(tmp_path):
    (tmp_path / "c.pt").write_text("mine")
    result = _run(train, "--config", "demo", "--data", tmp_path / "none", "-o", tmp_path / "c.pt")
    assert isinstance(result.exception, UsageError)
    assert "--overwrite" in str(result.exception)


@pytest.mark.parametrize("command", [train, evaluate, explain])
def test_a_device_that_is_none_is_refused_with_those_there_are(tmp_path, command):
    own = {
        train: ["-o", tmp_path / "c.pt", "--data", tmp_path],
        evaluate: [tmp_path / "c.pt", "--data", tmp_path],
        explain: [tmp_path / "c.pt", tmp_path / "image.png", "-o", tmp_path / "picture.png"],
    }[command]
    result = _run(command, *own, "--device", "gpu")
    assert result.exit_code == 2
    assert all(name in result.output for name in ("'gpu'", "auto", "cpu", "cuda"))


def test_synthesize_tells_how_far_it_is_without_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr("danet_train.cli.progress.EVERY_S", 0.0)  # or 10 s would pass before the first line
    counts = ("--train", 2, "--val", 1, "--video-frames", 1)
    result = _run(synthesize, tmp_path / "data", *counts, "--size", "32x32")
    lines = [line.partition(",") for line in result.output.splitlines() if line.startswith("painting")]
    assert [line[0] for line in lines] == [f"painting streets: {done} of 4" for done in (1, 2, 3, 4)]
    assert lines[-1][2] == " about 0 s left"


def test_every_error_has_an_exit_code_and_wrong_usage_is_2():
    assert DanetTrainError.exit_code == 1
    assert UsageError.exit_code == 2


@pytest.mark.parametrize(
    "module",
    ["", *(f".cli.{name}" for name in ("synthesize", "train", "import_weights", "evaluate", "explain"))],
)
def test_importing_a_command_loads_nothing_heavy(module):
    code = (
        f"import sys, danet_train{module}\n"
        "print([m for m in ('torch', 'cv2', 'numpy', 'pydantic', 'danet_runtime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow  # of their text, tests/pipeline/test_import_rule.py says it fast
def test_no_module_imports_a_sibling_package():
    code = (
        "import pkgutil, importlib, sys, danet_train\n"
        "for m in pkgutil.walk_packages(danet_train.__path__, 'danet_train.'):\n"
        "    importlib.import_module(m.name)\n"
        "siblings = ('danet_runtime', 'danet_export', 'danet_calibration')\n"
        "print([m for m in sys.modules if m.startswith(siblings)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
