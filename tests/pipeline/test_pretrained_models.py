"""Networks that ship, through the commands: wherever a checkpoint may stand, and as a bundle."""

import numpy as np
import pytest
import typer
from onnxruntime import InferenceSession
from pretrained_networks import NAME, put_pretrained
from typer.testing import CliRunner

from danet_export.cli import export
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle
from danet_runtime.errors import UsageError
from danet_train import load_pretrained, predict, read_checkpoint
from danet_train.cli.evaluate import evaluate
from danet_train.cli.explain import explain
from danet_train.cli.import_weights import import_weights
from danet_train.cli.train import train
from danet_train.errors import NoCheckpointError
from danet_train.pretrained import registry
from danet_train.pretrained.record import read_record
from danet_train.pretrained.registry import pretrained_names

SHIPPED = pretrained_names()


def run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


@pytest.fixture
def tiny(checkpoint_file, tmp_path, monkeypatch):
    """``pretrained:tiny``, in place of what ships."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    put_pretrained(folder, read_checkpoint(checkpoint_file))
    monkeypatch.setattr(registry, "FOLDER", folder)
    return f"pretrained:{NAME}"


def require_the_labels_of_pytorch(name, bundle):
    """Run the bundle's FP32 file in ONNX Runtime, and compare with the network in PyTorch."""
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    record, loaded = read_record(name), read_checkpoint(f"pretrained:{name}")
    assert manifest.model.size_hw == manifest.frame.size_hw == record.size_hw
    assert manifest.provenance.checkpoint_sha256 == record.sha256
    assert tuple(entry.name for entry in manifest.classes) == record.classes.names
    model, agreed = load_pretrained(name), []
    session = InferenceSession(opened.read(opened.variant("fp32").file), providers=["CPUExecutionProvider"])
    for seed in range(10, 13):
        frame = pattern(record.size_hw, seed)
        (labels,) = session.run(None, {"frame": frame[None]})[0]
        agreed.append(np.mean(labels == predict(model, frame, loaded.normalisation)))
    assert min(agreed) > 0.999


def test_the_list_names_size_classes_and_score(tiny):
    result = run(export, "--list-pretrained")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if tiny in line]
    assert line.split()[-4:] == ["64x96", "19", "50.00", "0.5"]


def test_without_a_size_only_a_network_that_ships_is_exported(tiny, checkpoint_file, tmp_path):
    result = run(export, checkpoint_file, "-o", tmp_path / "bundle")
    assert isinstance(result.exception, UsageError)
    assert "--size is missing" in str(result.exception)
    result = run(export, "pretrained:huge", "-o", tmp_path / "bundle")
    assert isinstance(result.exception, NoCheckpointError)
    assert "expected one of: tiny" in str(result.exception)
    assert not (tmp_path / "bundle").exists()


def test_every_command_that_takes_a_checkpoint_knows_the_scheme(tiny, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(b"")
    output = ("-o", tmp_path / "out.pt")
    for command, *arguments in (
        (evaluate, "pretrained:huge", "--data", tmp_path),
        (explain, "pretrained:huge", image, "-o", tmp_path / "out.png"),
        (import_weights, "pretrained:huge", *output),
        (train, "--quantize", "pretrained:huge", "--data", tmp_path, "--config", "demo", *output),
    ):
        result = run(command, *arguments)
        assert isinstance(result.exception, NoCheckpointError), command
        assert "expected one of: tiny" in str(result.exception)


def test_a_network_that_ships_becomes_a_checkpoint_like_any_other(tiny, tmp_path):
    result = run(import_weights, tiny, "-o", tmp_path / "c.pt")
    assert result.exit_code == 0, result.output
    state, expected = (
        read_checkpoint(tmp_path / "c.pt").model.state_dict(),
        load_pretrained(NAME).state_dict(),
    )
    assert all(bool((state[name] == tensor).all()) for name, tensor in expected.items())


@pytest.mark.slow
def test_the_bundle_of_a_packed_network_gives_the_labels_of_pytorch(tiny, tmp_path):
    result = run(export, tiny, "-o", tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    require_the_labels_of_pytorch(NAME, tmp_path / "bundle")


@pytest.mark.slow
def test_the_bundle_of_each_network_that_ships_gives_the_labels_of_pytorch(tmp_path):
    for name in SHIPPED:
        result = run(export, f"pretrained:{name}", "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        require_the_labels_of_pytorch(name, tmp_path / name)
