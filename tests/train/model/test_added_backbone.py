"""A backbone is added by a module and a line: networks, files, trainings and messages know it then."""

import json

import pytest
import torch
import typer
from labelled_folders import plain_folder
from toy_backbone import Toy
from typer.testing import CliRunner

from danet_train import build_model, read_checkpoint, save_checkpoint
from danet_train.cli.train import train
from danet_train.errors import CheckpointError, ConfigError, QuantisationError
from danet_train.model.backbones import registry
from danet_train.model.config import make_config
from danet_train.quantisation.activations import quantised_activations
from danet_train.weights.backbone import load_backbone
from danet_train.weights.mmseg import save_mmseg

HEAD = {"head_channels": 8, "attention_channels": 4, "aux_channels": 4, "num_classes": 5}


@pytest.fixture
def with_toy(monkeypatch):
    monkeypatch.setattr(registry, "BACKBONES", (*registry.BACKBONES, Toy()))
    return monkeypatch


@pytest.fixture
def model(with_toy):
    torch.manual_seed(0)
    return build_model(backbone="toy", width=6, **HEAD)


def test_the_network_stands_on_it(model):
    assert (model.config.width, model.config.c4_channels, model.config.label) == (6, 6, "toy")
    assert model(torch.randn(2, 3, 33, 40)).fused.shape == (2, 5, 5, 5)
    assert model.state_dict()["backbone.steps.2.0.weight"].shape == (6, 6, 3, 3)


def test_a_checkpoint_tells_it_and_gives_the_same_network(model, tmp_path):
    save_checkpoint(tmp_path / "c.pt", model)
    loaded = read_checkpoint(tmp_path / "c.pt")
    assert loaded.model.config == model.config
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model(x), model.eval()(x))


def test_where_it_is_not_installed_its_checkpoint_is_refused_by_name(model, with_toy, tmp_path):
    save_checkpoint(tmp_path / "c.pt", model)
    with_toy.undo()
    with pytest.raises(CheckpointError, match="no backbone 'toy'; give one of: resnet, a dilated ResNet-18,"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "toy", "depth": 18}, "unknown key 'depth'"),
        ({"backbone": "toy", "width": "6"}, "width: .*valid integer"),
        ({"width": 6}, "unknown key 'width'"),
        ({"backbone": "tox"}, r"no backbone 'tox'.*resnet.*toy, three convolutions \(options: width\)"),
    ],
)
@pytest.mark.usefixtures("with_toy")
def test_options_are_those_of_the_backbone_that_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make_config(**options)


def test_its_own_weights_start_a_training_and_others_are_refused(model, tmp_path):
    torch.save(model.backbone.state_dict(), tmp_path / "alone.pth")
    save_checkpoint(tmp_path / "whole.pt", model)
    for name in ("alone.pth", "whole.pt"):
        other = build_model(backbone="toy", width=6, **HEAD).backbone
        load_backbone(other, tmp_path / name)
        for key, tensor in other.state_dict().items():
            assert torch.equal(tensor, model.backbone.state_dict()[key])
    with pytest.raises(CheckpointError, match=r"does not fit the backbone.*must have the shape"):
        load_backbone(build_model(backbone="toy", width=7, **HEAD).backbone, tmp_path / "alone.pth")


def test_what_only_a_resnet_can_is_refused_in_words(model, tmp_path):
    with pytest.raises(QuantisationError, match="'toy' does not list which of its tensors"):
        quantised_activations(model)
    with pytest.raises(CheckpointError, match="stands on a ResNet, this one on the backbone 'toy'"):
        save_mmseg(tmp_path / "m.pth", model)
    save_checkpoint(tmp_path / "c.pt", model)
    with pytest.raises(CheckpointError, match="multi_grid is an option of the ResNet"):
        read_checkpoint(tmp_path / "c.pt", multi_grid=(4, 8, 16))


@pytest.mark.usefixtures("with_toy")
def test_a_configuration_trains_it_and_the_list_names_it(tmp_path):
    app = typer.Typer()
    app.command()(train)
    plain_folder(tmp_path / "set")
    (tmp_path / "toy.yaml").write_text(
        "model: {backbone: toy, width: 4, head_channels: 8, attention_channels: 4}\n"
        "augmentation: {crop_hw: [32, 48]}\nbatch_size: 2\ndevice: cpu\nthreads: 1\nsteps: 2\n"
    )
    asked = ["--data", tmp_path / "set", "--config", tmp_path / "toy.yaml", "-o", tmp_path / "c.pt"]
    result = CliRunner().invoke(app, [str(argument) for argument in asked])
    assert result.exit_code == 0, result.output
    assert "DANet-toy, training, 2 steps" in result.output
    assert read_checkpoint(tmp_path / "c.pt").model.config.width == 4
    stated = json.loads((tmp_path / "c.json").read_text())["config"]["model"]
    assert (stated["backbone"], stated["width"]) == ("toy", 4)
    listed = CliRunner().invoke(app, ["--list-configs"], env={"COLUMNS": "200"}).output
    assert "toy: three convolutions; options: width" in listed
    assert "resnet: a dilated ResNet-18, -34, -50, -101; options: depth, base_channels" in listed
