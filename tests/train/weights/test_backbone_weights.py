import pytest
import torch
from authors_network import authors_file

from danet_train import build_model, load_checkpoint, save_checkpoint
from danet_train.errors import CheckpointError, NoCheckpointError
from danet_train.weights.backbone import load_backbone

SMALL = {"base_channels": 4, "head_channels": 8, "attention_channels": 4, "aux_channels": 4}


def _saved(tmp_path, state):
    torch.save({"state_dict": state}, tmp_path / "c.pth")
    return tmp_path / "c.pth"


def _like_torchvision(backbone):
    """With the names of a deep stem as torchvision's descendants have them, and a classifier."""
    renamed = {}
    for name, tensor in backbone.state_dict().items():
        if name.startswith("stem.7."):
            renamed[name.replace("stem.7.", "bn1.")] = tensor
        else:
            renamed[name.replace("stem.", "conv1.")] = tensor
    return {**renamed, "fc.weight": torch.ones(10, 8), "fc.bias": torch.ones(10)}


@pytest.mark.parametrize("stem", ["plain", "deep"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
@pytest.mark.parametrize("names", ["torchvision", "mmsegmentation"])
def test_a_resnet_of_imagenet_goes_into_the_backbone(tmp_path, stem, prefix, names):
    donor = build_model(18, **SMALL, stem=stem, stem_channels=4).backbone
    state = _like_torchvision(donor) if names == "torchvision" else donor.state_dict()
    torch.save({f"{prefix}{name}": tensor for name, tensor in state.items()}, tmp_path / "imagenet.pth")
    backbone = build_model(18, **SMALL, stem=stem, stem_channels=4).backbone
    load_backbone(backbone, tmp_path / "imagenet.pth")
    held = backbone.state_dict()
    assert all(torch.equal(held[name], tensor) for name, tensor in donor.state_dict().items())


def test_the_backbone_of_a_whole_danet_of_each_family_is_taken(tmp_path):
    state = authors_file(deep=True, base=4)
    model = load_checkpoint(_saved(tmp_path, state))
    save_checkpoint(tmp_path / "own.pt", model)
    for path in (tmp_path / "c.pth", tmp_path / "own.pt"):
        backbone = build_model(50, **SMALL, stem_channels=8).backbone
        load_backbone(backbone, path)
        held = backbone.state_dict()
        assert all(torch.equal(held[name], tensor) for name, tensor in model.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer2.0.bn1.bias"), r"1 missing \(layer2.0.bn1.bias\)"),
        (lambda s: s.update({"layer5.bias": torch.ones(1)}), r"1 unexpected \(layer5.bias\)"),
        (lambda s: s.update({"layer2.0.bn1.bias": torch.ones(3)}), "layer2.0.bn1.bias must have the shape"),
        (lambda s: s.update({"bn1.bias": torch.full((4,), float("nan"))}), "bn1.bias holds values"),
    ],
)
def test_every_tensor_of_a_backbone_is_accounted_for_by_its_own_name(tmp_path, change, message):
    backbone = build_model(18, **SMALL, stem_channels=4).backbone
    state = _like_torchvision(backbone)
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_backbone(backbone, _saved(tmp_path, state))


def test_another_stem_is_said_in_the_words_of_the_configuration(tmp_path):
    plain = build_model(18, **SMALL, stem="plain", stem_channels=8).backbone
    deep = build_model(18, **SMALL, stem_channels=4).backbone
    with pytest.raises(CheckpointError, match=r"set model.stem: plain and model.stem_channels: 8"):
        load_backbone(deep, _saved(tmp_path, plain.state_dict()))
    with pytest.raises(NoCheckpointError, match="does not exist"):
        load_backbone(deep, tmp_path / "none.pth")
