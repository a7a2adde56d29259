"""A network over a backbone that was added is exported like any other: nothing here knows the ResNet."""

import pytest
import torch
from toy_backbone import Toy
from typer.testing import CliRunner

from danet_export.frames import pattern
from danet_runtime import Segmenter
from danet_runtime.cli.app import build_app
from danet_train import CITYSCAPES, Normalisation, build_model, predict, save_checkpoint
from danet_train.model.backbones import registry


@pytest.mark.slow
def test_its_bundle_gives_the_networks_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "BACKBONES", (*registry.BACKBONES, Toy()))
    torch.manual_seed(0)
    head = {"head_channels": 32, "attention_channels": 8, "aux_channels": None}
    model = build_model(backbone="toy", width=16, **head).eval()
    save_checkpoint(tmp_path / "c.pt", model, classes=CITYSCAPES)
    asked = ["export", str(tmp_path / "c.pt"), "--size", "64x128", "-o", str(tmp_path / "bundle")]
    result = CliRunner().invoke(build_app(), asked)
    assert result.exit_code == 0, result.output
    frame = pattern((64, 128), 7)
    with Segmenter(tmp_path / "bundle", "fp32") as segmenter:
        labels = segmenter.labels_of(frame)
    assert (labels == predict(model, frame, Normalisation())).mean() > 0.99
